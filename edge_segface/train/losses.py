"""Losses, each computed over the whole batch at once, in fp32, without a loop over classes.

Shapes: b batch, n classes, h w pixels, k embeddings, d width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DICE_EPS = 1e-5
LOG_EPS = 1e-8


def cross_entropy_and_dice(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, *, only_present: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy over pixels and SegFace's Dice loss, for logits (b n h w) and labels (b h w).

    Dice is 1 - (2 sum pg + e) / (sum p^2 + sum g^2 + e) per class, averaged over all classes. That includes background,
    and classes absent from the batch, whose probabilities are thereby pushed to zero; with `only_present` it does not,
    because a class that most batches lack would never be learnt. `class_weights` (n) weight the cross-entropy.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    p = log_p.exp()
    truth = labels[:, None] == torch.arange(logits.shape[1], device=logits.device)[:, None, None]  # b n h w
    both = torch.where(truth, p, 0.0).sum(dim=(0, 2, 3))
    either = p.square().sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    dice = 1 - (2 * both + DICE_EPS) / (either + DICE_EPS)
    if only_present:
        dice = dice[truth.any(dim=3).any(dim=2).any(dim=0)]
    return F.nll_loss(log_p, labels, class_weights), dice.mean()


def rarity_weights(pixels: Tensor, exponent: float) -> Tensor:
    """Return a weight for each class: (median share / its share) to a power, between 1/4 and 16, with a mean of 1.

    `pixels` (n) counts the pixels of each class; the mean is over pixels. Classes without pixels get 1.
    """
    present = pixels > 0
    share = pixels.double() / pixels.sum()
    weights = torch.ones_like(share)
    weights[present] = (share[present].median() / share[present]).pow(exponent).clamp(0.25, 16)
    return (weights / (weights * share).sum()).float()


def consensus_terms(logits: Tensor, labels: Tensor, components: Tensor, max_count: int) -> tuple[Tensor, Tensor]:
    """Return the two terms of "Structure via Consensus", eq. 8, unweighted, each a mean over connected components.

    `components` (b h w) numbers those of each image from 1 to at most `max_count`; 0 belongs to none. All pixels of a
    component have one label. The first term is -log of the probability that the mean over a component gives to its
    label. The second is how far its pixels are from that mean: the mean over pixels s of KL(mean || p(s)). By
    definition that is sum_k mean_k (log mean_k - mean of log p_k), so sums of p and log p per component suffice.
    """
    batch, classes = logits.shape[:2]
    rows = batch * (max_count + 1)  # one row for each number in each image
    number = (components + torch.arange(batch, device=components.device)[:, None, None] * (max_count + 1)).flatten()
    log_p = F.log_softmax(logits.float(), dim=1).movedim(1, -1).reshape(-1, classes)  # pixels n
    sizes = torch.zeros(rows, device=logits.device).index_add(0, number, torch.ones_like(number, dtype=torch.float))
    present = (sizes > 0) & (torch.arange(rows, device=logits.device) % (max_count + 1) > 0)
    empty = log_p.new_zeros(rows, classes)
    mean = empty.index_add(0, number, log_p.exp()) / sizes.clamp_min(1)[:, None]  # rows n
    mean_log = empty.index_add(0, number, log_p) / sizes.clamp_min(1)[:, None]  # rows n
    label = torch.zeros_like(present, dtype=labels.dtype).scatter_reduce(0, number, labels.flatten(), "amax")
    log_mean = mean.clamp_min(LOG_EPS).log()
    label_term = -log_mean.gather(1, label[:, None])[:, 0]
    agreement_term = (mean * (log_mean - mean_log)).sum(dim=1)
    count = present.sum().clamp_min(1)
    return torch.where(present, label_term, 0.0).sum() / count, torch.where(present, agreement_term, 0.0).sum() / count


def contrastive_loss(
    embeddings: Tensor,
    classes: Tensor,
    groups: Tensor,
    group_temperatures: Tensor,
    temperature: float,
    same_class: float,
) -> Tensor:
    """Return the two-level contrastive loss of unit embeddings (k d): within the sub-class, then within the class.

    `groups` (k) are sub-classes, unique over classes; `group_temperatures` (k) are those of the second level, by the
    anchor's class. At the second level, the anchor is not contrasted with its own sub-class.
    """
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    same_group = (groups[:, None] == groups) & ~itself
    same = (classes[:, None] == classes) & ~itself & ~same_group
    similarity = embeddings @ embeddings.T
    fine = _mean_log_share(similarity / temperature, same_group, ~itself)
    coarse = _mean_log_share(similarity / group_temperatures[:, None], same, ~itself & ~same_group)
    return -(fine + same_class * coarse).mean()


def _mean_log_share(scores: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
    """Return per row the mean over positives of log softmax over candidates; 0 in a row without positives."""
    shares = scores - scores.masked_fill(~candidates, -torch.inf).logsumexp(dim=1, keepdim=True)
    count = positives.sum(dim=1)
    total = torch.where(positives, shares, 0.0).sum(dim=1)
    return torch.where(count > 0, total / count.clamp_min(1), 0.0)


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the mean over pixels of KL(teacher || student), times temperature squared to keep gradients' scale."""
    if teacher.shape[2:] != student.shape[2:]:
        teacher = F.interpolate(teacher.float(), size=student.shape[2:], mode="bilinear", align_corners=False)
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1).mean() * temperature**2
