"""Patterns of ONNX node names: how quantization recognises the parts of an exported graph.

The tracing exporter names a node after the modules it belongs to: `/network/decoder/transformer/norm_final/...` is the
attribute `norm_final` of the attribute `transformer`, and so on. The names therefore come from attributes in `deploy`
(`before`, `network`, `after`), in `rewrite` and `rewrite_attention` (`backbone`, `decoder`, `stages`, `transformer`,
`tokens_from_image`, `refine_half`, ...) and in timm's networks (`conv_stem`, `blocks`, `se`). Renaming any of them
needs a change here; a test exports every preset and checks that each pattern matches.

Patterns for modelopt are matched from the beginning of a name, those of groups anywhere.
"""

from __future__ import annotations

import re

# Preprocessing and postprocessing: bytes to floats, and logits to classes.
WRAPPING = (r"^/?before/.*", r"^/?after/.*")
# Products of two activations, which int8 would calibrate without constant weights.
ATTENTION_PRODUCTS = (
    r".*/tokens_from_image/MatMul.*",
    r".*/image_from_tokens/MatMul.*",
    r".*/self_attention/MatMul.*",
    r".*/final_attention/MatMul.*",
)
# Pixels times tokens, giving the logits: little work, and no constant side.
MASK_PRODUCT = (r".*/decoder/MatMul$",)
# Squeeze and excite: two products of one pixel each, so nothing to gain and much accuracy to lose.
SQUEEZE_EXCITE = (r".*/se/.*",)

BACKBONE = "/backbone/"

# Parts of a network that are quantized or kept together: the first pattern found in a node's name decides.
GROUPS = (
    (r"/backbone/conv_stem/", "stem"),
    (r"/se/", "squeeze and excite"),
    (r"/backbone/blocks\.(\d+)/", r"backbone stage \1"),
    (r"/decoder/stages\.", "features to tokens"),
    (r"/decoder/transformer/", "linear layers of the transformer"),
    (r"/decoder/refine_eighth/", "refinement at an eighth"),
    (r"/decoder/refine_quarter/", "refinement at a quarter"),
    (r"/decoder/refine_half/", "refinement at half"),
    (r"/decoder/upscale/", "upscaling"),
    (r"/decoder/", "class masks"),
)


def group_of(name: str) -> str:
    """Return the group of a node, or `rest` if it belongs to none."""
    for pattern, group in GROUPS:
        if match := re.search(pattern, name):
            return match.expand(group)
    return "rest"
