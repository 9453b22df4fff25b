"""Bad inputs by the hundred: files and arguments that a command must answer with one line.

Every case depends on its number and the seed alone. `python -m tests.fuzz.run --help` runs them.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from edge_segface.assets import FOLDER, PORTRAIT
from edge_segface.seal import sealed_onnx
from edge_segface.spec import METADATA_KEY, EngineRecord, sealed_record, to_json
from tests.fuzz.examples import calibration_info
from tests.support.tiny_onnx import write_tiny_onnx
from tests.test_spec import RECORD

Arguments = list[str | bytes]
Make = Callable[[random.Random, Path], "Arguments"]


@dataclass(frozen=True)
class Case:
    """One command in a folder of its own. `fails` says whether anything but an error would be a wrong result."""

    family: str
    number: int
    arguments: Arguments
    fails: bool


NASTY_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 10**30, 1e308, -1e308, "", " ", "\n", "\0", "../../x", "/etc/passwd", "a" * 10_000,
    "[/x]", "[bold]x", "\x1b[2J", "é" * 300, "$(reboot)", "'; rm -rf x", "x\ny=z", "nan", "inf", [], {}, [[]], [None],
    {"a": {"a": {"a": 1}}}, ["x"] * 1000, "\u202e", "\ud800",
)  # fmt: skip
NASTY_JSON = (
    "", "{", "[]", "null", "1" * 5000, "[" * 20_000, '{"a":' * 20_000, '{"a": NaN}', '{"a": 1, "a": 2}', "\ufeff{}",
    "\0",
    '"' + "\\ud800" + '"', "{}", "true", "-" * 100,
)  # fmt: skip
NASTY_YAML = (
    "", "a: [", "- 1", "null", "&a [*a]", "a: &x [1]\nb: *x", "preset: 2024-01-01", "epochs: " + "1" * 5000, "[" * 2000,
    "preset: edge\npreset: lite", "? [1]\n: 2", "!!python/object/apply:os.system [x]", "\x00", "a: \t b",
    "%YAML 9.9\n---\na",
    "{a: 1}: 2", "preset: edge\nepochs: 1\nbatch: 1\nce: .nan",
    "preset: edge\nepochs: 1\nbatch: 1\noptimizer: {lr: .inf}",
    "preset: edge\nepochs: -1\nbatch: 1", "preset: nosuch\nepochs: 1\nbatch: 1", "preset: edge\nepochs: 1e3\nbatch: 1",
    "preset: edge\nepochs: 1\nbatch: 1\nsize: 40000", "preset: edge\nepochs: 1\nbatch: 1\ncamera: {plain: 2}",
    "preset: edge\nepochs: 1\nbatch: 1\nschedule: 5", "preset: edge\nepochs: 0x7fffffffffffffff1\nbatch: 1",
)  # fmt: skip
NASTY_NAMES: tuple[bytes, ...] = (
    b"[/x].png", b"[bold]a.png", b"a\nb.png", b"\xff\xfe.png", b"-x.png", b"a b'c\".png", b"%s%n.png",
    b"x" * 250 + b".png",
    "\u202egnp.png".encode(), b"$(id).png", b"a;b&c.png", b"*.png", b"?.png", b"\x1b[31m.png", b" .png",
)  # fmt: skip
NASTY_SOURCES = (
    "", " ", "rtsp://", "rtsp://x y", 'rtsp://127.0.0.1:1/x" videotestsrc ! filesink location=owned', "http://",
    "http://[::1",
    "http://127.0.0.1:1/x", "http://me:secret@127.0.0.1:1/?password=secret", "ftp://x", "file://",
    "file:///nowhere.mp4",
    "gst:", "gst:!", "gst:nosuchelement", "gst:videotestsrc ! 'x", "csi://", "csi://99", "csi://x", "v4l2://x",
    "/dev/null",
    "/dev/zero", "/dev/video9999999999", "9" * 30, "-1", "~", "..", "a" * 5000, "demo ", "*", "[", "{}", "\u202e",
    "%s", "x.mp4",
    "/proc/self/mem", "/dev/stdin", "data:,x", "javascript:1", "rtsp://127.0.0.1:99999/x", "http://127.0.0.1:port/",
)  # fmt: skip
NASTY_NUMBERS = (
    "",
    "-1",
    "0",
    "1e3",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "9" * 5000,
    "x",
    "1.5",
    " 1",
    "0x10",
    "1_000",
    "٣",
)


def make_case(seed: int, number: int, folder: Path) -> Case:
    """Write the files of a case into its folder and return its command."""
    rng = random.Random(f"{seed}-{number}")
    family, (make, fails) = list(FAMILIES.items())[number % len(FAMILIES)]
    return Case(family, number, make(rng, folder), fails)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a file's content with one of the usual kinds of damage."""
    kind = rng.choice(("cut", "flip", "zero", "insert", "double", "swap"))
    at = rng.randrange(len(content))
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(rng.choice((1, 8, 64))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == "zero":
        return content[:at] + bytes(min(4096, len(content) - at)) + content[at + 4096 :]
    if kind == "insert":
        return content[:at] + rng.randbytes(rng.choice((1, 7, 4096))) + content[at:]
    if kind == "double":
        return content[:at] + content
    return content[at:] + content[:at]


def encoded_portrait(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(PORTRAIT).resize((160, 160)).save(buffer, kind)
    return buffer.getvalue()


def damaged_image(rng: random.Random, folder: Path) -> Arguments:
    kind = rng.choice(("jpeg", "png", "webp", "bmp", "tiff"))
    suffix = rng.choice((kind, "jpg", "png"))
    (folder / f"a.{suffix}").write_bytes(damaged(encoded_portrait(kind), rng))
    return ["parse", f"a.{suffix}", "-o", "out"]


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    )
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def image_of_a_strange_size(rng: random.Random, folder: Path) -> Arguments:
    width, height = (rng.choice((0, 1, 2, 7, 16_385, 30_000, 65_535, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    data = bytes(rng.choice((0, 1000, 20_000_000)))
    (folder / "a.png").write_bytes(
        png(width, height, depth=rng.choice((1, 8, 16, 99)), colour=rng.choice((0, 2, 3, 6, 9)), data=data)
    )
    return ["parse", "a.png", "-o", "out"]


def not_a_regular_file(rng: random.Random, folder: Path) -> Arguments:
    suffix = rng.choice((".png", ".onnx", ".yaml", ".json", ".npz", ".pt", ".engine", ".xml"))
    path = folder / f"a{suffix}"
    kind = rng.choice(("pipe", "zero", "loop", "folder", "empty", "sparse", "nowhere", "unreadable"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(3 << 30)
    elif kind == "unreadable":
        path.write_bytes(b"x")
        path.chmod(0)
    else:
        path.symlink_to({"zero": "/dev/zero", "loop": str(path), "nowhere": "/nowhere/x"}[kind])
    return reader_of(suffix, path.name, rng)


def reader_of(suffix: str, name: str, rng: random.Random) -> Arguments:
    """Return a command that reads a file of this kind."""
    commands: dict[str, list[Arguments]] = {
        ".png": [["parse", name, "-o", "out"], ["webcam", "--headless", "--frames", "2", "-s", name]],
        ".yaml": [["recipes", name], ["calibrate", name, "-o", "c.npz"]],
        ".json": [["benchmark", "--compare", name, "--compare", name]],
        ".npz": [["quantize", "edge-256", "--calibration", name, "-o", "q.onnx"]],
    }
    models: list[Arguments] = [["info", name], ["parse", str(PORTRAIT), "-o", "out", "-m", name]]
    models += [["benchmark", name, "--rounds", "2"], ["package", name, "--for", "triton", "-o", "out"]]
    return rng.choice(commands.get(suffix, models))


def strange_name(rng: random.Random, folder: Path) -> Arguments:
    name = rng.choice(NASTY_NAMES)
    path = os.path.join(os.fsencode(folder), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = PORTRAIT.read_bytes() if rng.random() < 0.5 else b"x"
    with open(path, "wb") as file:
        file.write(content)
    where = rng.choice((b"./" + name, b".", b"./*"))
    commands: list[Arguments] = [
        ["parse", where, "-o", "out", "--crops", "--polygons"],
        ["webcam", "--headless", "-s", where, "--save-masks", "out", "--json", "r.json"],
    ]
    return rng.choice(commands)


def forged_metadata(rng: random.Random, folder: Path) -> Arguments:
    path = write_tiny_onnx(folder / "a.onnx")
    model = onnx.load(path)
    text = next(one.value for one in model.metadata_props if one.key == METADATA_KEY)
    forge_json(model.metadata_props[0], text, rng)
    del model.metadata_props[1:]  # the checksum; a right one is written, or no forgery would be looked at
    path.write_bytes(sealed_onnx(model.SerializeToString()))
    return reader_of(".onnx", "a.onnx", rng)


def forge_json(place: Any, text: str, rng: random.Random) -> None:
    """Replace one value of a JSON object, or the whole text."""
    if rng.random() < 0.25:
        place.value = rng.choice(NASTY_JSON).replace("\0", "")
        return
    content = json.loads(text)
    key = rng.choice(list(content))
    if rng.random() < 0.2:
        del content[key]
    else:
        content[key] = rng.choice(NASTY_VALUES)
    place.value = json.dumps(content)


def damaged_model(rng: random.Random, folder: Path) -> Arguments:
    source = rng.choice((FOLDER / "edge-256-int8.onnx", write_tiny_onnx(folder / "tiny.onnx")))
    content = source.read_bytes()
    changed = damaged(content, rng)
    (folder / "a.onnx").write_bytes(changed if changed != content else content[:-9])
    return reader_of(".onnx", "a.onnx", rng)


def forged_record(rng: random.Random, folder: Path) -> Arguments:
    (folder / "a.engine").write_bytes(b"plan")
    content = json.loads(to_json(RECORD))
    part = rng.choice((content, content["engine"], content["model"]))
    part[rng.choice(list(part))] = rng.choice(NASTY_VALUES)
    text = sealed_record(content) if rng.random() < 0.75 else rng.choice(NASTY_JSON)
    EngineRecord.path_for(folder / "a.engine").write_text(text, encoding="utf-8", errors="surrogatepass")
    return reader_of(".engine", "a.engine", rng)


def damaged_set(rng: random.Random, folder: Path) -> Arguments:
    images = np.zeros((rng.choice((0, 1, 8)), 256, 256, 3), rng.choice((np.uint8, np.float32)))
    info = calibration_info(images)
    info[rng.choice(list(info))] = rng.choice(NASTY_VALUES)
    np.savez_compressed(folder / "a.npz", images=images, facts=np.array(json.dumps(info)))
    kind = rng.choice(("as it is", "damaged", "bomb", "foreign", "huge header"))
    if kind == "damaged":
        (folder / "a.npz").write_bytes(damaged((folder / "a.npz").read_bytes(), rng))
    elif kind == "foreign":
        np.savez(folder / "a.npz", x=np.array([None], dtype=object))
    elif kind != "as it is":
        header = "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 256, 256, 3), }".ljust(117) + "\n"
        with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("facts.npy", b"")
            body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
            archive.writestr("images.npy", body + bytes(300_000_000 if kind == "bomb" else 0))
    return ["quantize", "edge-256", "--calibration", "a.npz", "-o", "q.onnx"]


def strange_recipe(rng: random.Random, folder: Path) -> Arguments:
    (folder / "a.yaml").write_text(rng.choice(NASTY_YAML), encoding="utf-8")
    if rng.random() < 0.5:
        return ["recipes", "a.yaml"]
    value = rng.choice(
        (
            "lr: 1",
            "optimizer.lr=.inf",
            "ce=nan",
            "epochs=" + "9" * 5000,
            "a.b.c=1",
            "=",
            "seed=2024-01-01",
            "size=[",
            "camera=5",
        )
    )
    return ["train", "drawn", "-o", "run", "--set", value]


def labelled_folder(rng: random.Random, folder: Path) -> Arguments:
    data = folder / "data"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    for index in range(3):
        image = Image.open(PORTRAIT).resize((64, 64))
        image.save(data / "images" / f"{index}.png")
        mask = Image.fromarray(np.full((64, 64), rng.choice((0, 1, 18, 19, 255)), np.uint8))
        mask.save(data / "masks" / f"{index}.png")
    target = data / rng.choice(("images", "masks")) / "1.png"
    kind = rng.choice(("damaged", "missing", "size", "pipe", "list", "empty list", "latin", "colour", "bomb"))
    if kind == "damaged":
        target.write_bytes(damaged(target.read_bytes(), rng))
    elif kind == "missing":
        target.unlink()
    elif kind == "size":
        Image.new("L", (rng.choice((1, 7, 4000)), 9)).save(target)
    elif kind == "pipe":
        target.unlink()
        os.mkfifo(target)
    elif kind == "colour":
        Image.effect_noise((64, 64), 90).convert("RGB").rotate(5).save(target)
    elif kind == "bomb":
        target.write_bytes(png(30_000, 30_000, colour=0))
    else:
        text = {"list": "../../../etc/passwd\n0", "empty list": "", "latin": "\udce9"}[kind]
        (data / "val.txt").write_bytes(text.encode(errors="surrogateescape"))
    return [
        "evaluate",
        "edge-256",
        "--dataset",
        "folder",
        "-d",
        "data",
        "--split",
        rng.choice(("val", "train", "test")),
    ]


def strange_source(rng: random.Random, folder: Path) -> Arguments:
    return ["webcam", "--headless", "--frames", "1", "--source", rng.choice(NASTY_SOURCES)]


def damaged_report(rng: random.Random, folder: Path) -> Arguments:
    content: dict[str, Any] = {
        "kind": "benchmark",
        "schema": rng.choice((1, 2, 3, "x", None)),
        "models": rng.choice(NASTY_VALUES),
    }
    content[rng.choice(("models", "machine", "kind", "rounds"))] = rng.choice(NASTY_VALUES)
    text = json.dumps(content) if rng.random() < 0.6 else rng.choice(NASTY_JSON)
    for name in ("a.json", "b.json"):
        (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["benchmark", "--compare", "a.json", "--compare", "b.json"]


def strange_option(rng: random.Random, folder: Path) -> Arguments:
    number = rng.choice(NASTY_NUMBERS)
    commands: list[Arguments] = [
        ["webcam", "-s", "demo", "--headless", "--frames", number if len(number) != 30 else "-9"],
        ["webcam", "-s", "demo", "--headless", "--frames", "1", "--rate", number],
        ["webcam", "-s", "demo", "--headless", "--frames", "1", "--size", f"{number}x{number}"],
        ["webcam", "-s", "demo", "--headless", "--frames", "1", "--serve", f"127.0.0.1:{number}"],
        ["webcam", "-s", "demo", "--headless", "--frames", "1", "--opacity", number],
        ["parse", str(PORTRAIT), "-o", "out", "--faces", number],
        ["parse", str(PORTRAIT), "-o", "out", "--min-score", number],
        ["benchmark", "edge-256", "--rounds", number],
        ["export", str(FOLDER / "edge.pt"), "-o", "a.onnx", "--size", number],
        ["info", number or "x"],
        ["parse", str(PORTRAIT), "-o", "out", "--labels", number],
    ]
    return rng.choice(commands)


def damaged_checkpoint(rng: random.Random, folder: Path) -> Arguments:
    content = (FOLDER / "edge.pt").read_bytes()
    (folder / "a.pt").write_bytes(damaged(content, rng))
    return ["info", "a.pt"]


def unwritable_place(rng: random.Random, folder: Path) -> Arguments:
    (folder / "file").write_text("x", encoding="utf-8")
    (folder / "loop").symlink_to(folder / "loop")
    place = rng.choice(("file/x", "/proc/x", "loop", "/dev/full", "x" * 300, "/nowhere/\udcff", "loop/x"))
    commands: list[Arguments] = [
        ["parse", str(PORTRAIT), "-o", place],
        ["webcam", "-s", "demo", "--headless", "--frames", "2", "--record", place + ".mp4"],
        ["webcam", "-s", "demo", "--headless", "--frames", "2", "--save-masks", place],
        ["webcam", "-s", "demo", "--headless", "--frames", "2", "--json", place + ".json"],
        ["package", "edge-256", "--for", "triton", "-o", place],
    ]
    return rng.choice(commands)


def damaged_video(rng: random.Random, folder: Path) -> Arguments:
    source = Path(__file__).parent / "corpus" / "clip.mp4"
    (folder / "a.mp4").write_bytes(damaged(source.read_bytes(), rng))
    return ["webcam", "--headless", "-s", "a.mp4"]


# Each family of bad inputs, and whether a command that succeeds on one would be wrong.
FAMILIES: dict[str, tuple[Make, bool]] = {
    "damaged image": (damaged_image, False),  # a flipped bit may leave a picture
    "image of a strange size": (image_of_a_strange_size, False),
    "not a regular file": (not_a_regular_file, True),
    "strange name": (strange_name, False),
    "forged metadata": (forged_metadata, False),
    "damaged model": (damaged_model, True),
    "forged record": (forged_record, True),
    "damaged set": (damaged_set, True),
    "strange recipe": (strange_recipe, True),
    "labelled folder": (labelled_folder, False),
    "strange source": (strange_source, False),
    "damaged report": (damaged_report, True),
    "strange option": (strange_option, False),
    "damaged checkpoint": (damaged_checkpoint, True),
    "unwritable place": (unwritable_place, False),
    "damaged video": (damaged_video, False),
}
