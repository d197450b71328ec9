"""Where a profile's inputs and outputs are found in what a model gets and gives."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slipway_runtime import drift_profile
from slipway_runtime.drift import CompiledDrift, NativeDrift
from slipway_runtime.drift_profile import parse
from slipway_runtime.modelfile import ModelFile

FEATURE: dict[str, Any] = {"edges": [1, 2.5], "shares": [0.5, 0.25, 0.25, 0]}


def text(names: Sequence[str]) -> str:
    """Returns a profile of features that are all alike."""
    features = dict.fromkeys(names, FEATURE)
    return json.dumps({"slipway_profile": 1, "rows": 9, "features": features})


TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}
NUMBERED = [{"name": at, "type": "double"} for at in range(3)]
NAMED: list[dict[str, Any]] = [{"name": name, "type": "double"} for name in "abc"]
ROWS = np.array([[0.0, 1.5, 9.0], [1.0, 2.0, math.nan]])
SWAPPED = ROWS[:, [2, 0, 1]]
IN_ORDER = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("names", "signature", "data"),
    [
        ("012", [TENSOR], pd.DataFrame(ROWS)),
        ("012", [TENSOR], pd.DataFrame(ROWS, columns=list("xyz"))),
        # A tensor's columns go by their order, whatever they are called.
        ("012", [TENSOR], pd.DataFrame(ROWS, columns=list("201"))),
        ("012", [TENSOR], ROWS),
        ("012", NUMBERED, pd.DataFrame(ROWS)),
        ("012", NUMBERED, pd.DataFrame(SWAPPED, columns=[2, 0, 1])),
        ("012", NUMBERED, ROWS),
        ("012", NUMBERED, {2: ROWS[:, 2], 0: ROWS[:, 0], 1: ROWS[:, 1]}),
        ("abc", NAMED, pd.DataFrame(SWAPPED, columns=list("cab"))),
        ("abc", NAMED, pd.DataFrame(SWAPPED, columns=list("cab")).assign(t="x", b=ROWS[:, 1])),
        ("abc", NAMED, pd.DataFrame(SWAPPED, columns=list("cab")).convert_dtypes()),
        ("abc", NAMED, ROWS),
        ("abc", None, ROWS),
        ("abc", None, pd.DataFrame(ROWS)),
        ("abc", None, pd.DataFrame(ROWS, columns=list("xyz"))),
        ("abc", None, {"c": ROWS[:, 2].tolist(), "a": ROWS[:, 0], "b": ROWS[:, [1]]}),
        ("012", None, ROWS),
        ("012", None, pd.DataFrame(ROWS)),
        ("012", None, pd.DataFrame(ROWS, columns=list("xyz"))),
        ("012", None, pd.DataFrame(ROWS, columns=["1", "2", "x"])),
        ("012", None, pd.DataFrame(SWAPPED, columns=list("201"))),
    ],
)
def test_inputs_are_found_by_name_or_by_place(
    tmp_path: Path, names: str, signature: Any, data: Any
) -> None:
    content = text(names)
    model = ModelFile({}, signature, None, False, None, content)
    profile = drift_profile.load(tmp_path, model)
    assert profile is not None
    watched = NativeDrift(profile, tmp_path / "counts", 20, model)
    for _ in range(2):
        watched.offer(data, None)
    watched.count()
    assert np.fromfile(tmp_path / "counts", np.uint64).tolist() == [2 * n for n in IN_ORDER]


def test_a_column_that_others_of_the_profile_come_without_is_missing(tmp_path: Path) -> None:
    content = text("ab")
    signature = [*NAMED[:1], NAMED[1] | {"required": False}]
    watched = NativeDrift(
        parse(content), tmp_path / "0", 20, ModelFile({}, signature, None, False, None)
    )
    # One after the other: what is found in one request says nothing of the next.
    watched.offer(pd.DataFrame({"a": [9.0]}), None)
    watched.offer(pd.DataFrame({"b": [9.0], "a": [0.0]}), None)
    watched.count()
    assert np.fromfile(tmp_path / "0", np.uint64).tolist() == [1, 0, 1, 0, 0, 0, 1, 1]


def test_outputs_that_are_named_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("a", "prediction[x]", "prediction[y]")
    profile = parse(text(names))
    native = NativeDrift(profile, tmp_path / "native", 20)
    compiled = CompiledDrift(profile, tmp_path / "compiled", 20, ["a"], 1, None)
    cases: list[tuple[NativeDrift | CompiledDrift, str]] = [
        (native, "native"),
        (compiled, "compiled"),
    ]
    row, outputs = np.zeros((1, 1)), np.array([[2.0, 9.0]])
    for watched, name in cases:
        watched.offer(row, outputs)
        watched.count()
        file = tmp_path / name
        assert np.fromfile(file, np.uint64).tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
        assert not caplog.records
        for _ in range(2):
            watched.offer(row, outputs[:, :1])
        watched.count()
        assert np.fromfile(file, np.uint64).tolist() == [3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
        (record,) = caplog.records
        assert record.message == "predictions are not counted: they are not the profile's"
        assert record.__dict__["expected"] == ["prediction[x]", "prediction[y]"]
        assert record.__dict__["found"] == ["prediction"]
        caplog.clear()
