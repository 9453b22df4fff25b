from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edge_segface.errors import ModelError
from edge_segface.labels import CELEBAMASK19
from edge_segface.spec import METADATA_KEY, EngineRecord, EngineSpec, ModelSpec, from_json, to_json

SPEC = ModelSpec(
    name="m",
    preset="edge",
    label_space="celebamask19",
    class_names=CELEBAMASK19.names,
    input_size=256,
    outputs=("labels",),
    precision="fp32",
    training_data="none",
    weights_licence="MIT",
    made_by="a test",
    f1={"skin": 95},
)
RECORD = EngineRecord(EngineSpec("tensorrt", "fp16"), SPEC, "10.3.0", "Orin", "8.7", "ab", "cd", 12.5)
WHERE = Path("m.onnx")


def test_round_trip() -> None:
    assert ModelSpec.from_metadata(SPEC.metadata(), WHERE) == SPEC
    assert SPEC.space is CELEBAMASK19
    assert from_json(EngineRecord, to_json(RECORD), WHERE) == RECORD


def test_record_lives_beside_the_engine_and_names_what_differs(tmp_path: Path) -> None:
    engine = tmp_path / "m.engine"
    RECORD.save(engine)
    assert (tmp_path / "m.engine.json").exists()
    loaded = EngineRecord.load(engine)
    assert loaded == RECORD
    assert loaded.mismatches(runtime_version="10.3.0", device="Orin") == {}
    assert loaded.mismatches(runtime_version="10.16.2") == {"runtime_version": ("10.3.0", "10.16.2")}
    with pytest.raises(ModelError, match="no readable record beside it"):
        EngineRecord.load(tmp_path / "other.engine")


@pytest.mark.parametrize(("old", "new"), [("12.5", "12.6"), ('"fp16"', '"fp32"'), ('"sha256"', '"sha257"')])
def test_a_damaged_record_is_rejected(tmp_path: Path, old: str, new: str) -> None:
    engine = tmp_path / "m.engine"
    RECORD.save(engine)
    path = EngineRecord.path_for(engine)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ModelError, match="damaged or was changed .*do not match its checksum.* build the engine again"):
        EngineRecord.load(engine)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"input_size": "256"}, "input_size must be int, not '256'"),
        ({"input_size": 250}, r"multiple of 32 from 128 to 1024 \(found: 250\); the nearest is 256"),
        ({"input_size": True}, "input_size must be int, not True"),
        ({"class_names": [1, 2]}, "class_names"),
        ({"class_names": ["background"]}, "in another order"),
        ({"outputs": ["masks"]}, "outputs `labels`, `logits` or both"),
        ({"f1": {"skin": "high"}}, "f1"),
        ({"f1": {"skin": float("nan")}}, "NaN is not a number"),
        ({"f1": {"toe": 5.0}}, "classes that it does not have .*toe"),
        ({"warp": "polar"}, "an unknown warp"),
        ({"name": "../../x"}, r"unusable name \(found: '../../x'\)"),
        ({"name": "a\nb"}, "name is not one line of text"),
        ({"name": ".hidden"}, "unusable name"),
        ({"label_space": "lapa11 x"}, "unusable label space"),
        ({"label_space": "x\ncustom-lib-path=/tmp/evil.so"}, "label_space is not one line of text"),
        ({"precision": "int4"}, r"unknown precision \(found: int4\)"),
        ({"training_data": "a\x1b[2Jb"}, "training_data is not one line"),
        ({"f1": {"skin": 101}}, "not between 0 and 100"),
        ({"kept": {"a": "b\nc"}}, "kept is not one line"),
        ({"schema": 2}, "written by a newer edge-segface"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, object], text: str) -> None:
    value = {**json.loads(to_json(SPEC)), **change}
    with pytest.raises(ModelError, match=text):
        ModelSpec.from_metadata({METADATA_KEY: json.dumps(value)}, WHERE)


def test_missing_broken_and_foreign_metadata() -> None:
    with pytest.raises(ModelError, match=r"m.onnx has no ModelSpec.*edge-segface export"):
        ModelSpec.from_metadata({"author": "someone"}, WHERE)
    with pytest.raises(ModelError, match="not JSON"):
        ModelSpec.from_metadata({METADATA_KEY: "{"}, WHERE)
    with pytest.raises(ModelError, match="must hold `key: value` pairs"):
        ModelSpec.from_metadata({METADATA_KEY: "[]"}, WHERE)
    with pytest.raises(ModelError, match="broken ModelSpec"):
        ModelSpec.from_metadata({METADATA_KEY: "[" * 100_000}, WHERE)
    lacking = {key: value for key, value in json.loads(to_json(SPEC)).items() if key != "preset"}
    with pytest.raises(ModelError, match="preset is missing"):
        ModelSpec.from_metadata({METADATA_KEY: json.dumps(lacking)}, WHERE)


def test_a_batch_range_has_three_numbers() -> None:
    value = json.loads(to_json(RECORD))
    value["engine"]["batch"] = [1, 2]
    with pytest.raises(ModelError, match=r"engine.batch must have 3 values, not 2"):
        from_json(EngineRecord, json.dumps(value), WHERE)


def test_a_space_of_a_later_version_is_an_error_only_when_used() -> None:
    later = dataclasses.replace(SPEC, label_space="face25", class_names=("a", "b"), f1=None)
    with pytest.raises(ModelError, match="update edge-segface"):
        _ = later.space


def test_names_that_users_give_are_accepted() -> None:
    for name in ("edge-256", "mein Modell (2)", "模型_v1.2", "a+b"):
        assert dataclasses.replace(SPEC, name=name).name == name


@pytest.mark.parametrize(
    ("change", "text"), [({"runtime": "evilmod"}, "unknown runtime"), ({"precision": "int4"}, "unknown precision")]
)
def test_runtime_and_precision_of_an_engine_are_known_ones(change: dict[str, str], text: str) -> None:
    value = json.loads(to_json(RECORD))
    value["engine"].update(change)
    with pytest.raises(ModelError, match=text):
        from_json(EngineRecord, json.dumps(value), WHERE)


def test_batch_range_must_rise() -> None:
    with pytest.raises(ModelError, match="batch range"):
        EngineSpec("tensorrt", "fp16", (4, 2, 8))
