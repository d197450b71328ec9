"""Predictions of every kind, as outputs."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from slipway_runtime import v2
from slipway_runtime.errors import RequestError

from .requests import ASK

WIDE = "[[1.0,1.0,1.0],[1.0,1.0,1.0]]"


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (np.array([1, 2]), [("predict", "INT64", [2], [1, 2])]),
        (np.array([[0.5, 1]]), [("predict", "FP64", [1, 2], [0.5, 1])]),
        (np.array([[0.5, 1], [2, 3]]).T, [("predict", "FP64", [2, 2], [0.5, 2, 1, 3])]),
        (np.array([0.1], np.float32), [("predict", "FP32", [1], [0.1])]),
        (np.array([1], ">i4"), [("predict", "INT32", [1], [1])]),
        (np.array(2.5), [("predict", "FP64", [1], [2.5])]),
        (np.array(["a", "b"]), [("predict", "BYTES", [2], ["a", "b"])]),
        (np.array([["a", None]], object), [("predict", "BYTES", [1, 2], ["a", None])]),
        (np.array([1, None], object), [("predict", "FP64", [2], [1, None])]),
        (np.array(["2024-02-29"], "M8[D]"), [("predict", "BYTES", [1], ["2024-02-29T00:00:00"])]),
        (csr_matrix(np.eye(2)), [("predict", "FP64", [2, 2], [1, 0, 0, 1])]),
        (
            pd.DataFrame({"y": [1, 2], "z": ["a", None]}),
            [("y", "INT64", [2], [1, 2]), ("z", "BYTES", [2], ["a", None])],
        ),
        (
            pd.DataFrame({0: pd.array([1, None], "Int64"), "c": pd.Categorical(["u", "v"])}),
            [("0", "FP64", [2], [1, None]), ("c", "BYTES", [2], ["u", "v"])],
        ),
        (
            pd.DataFrame({"d": pd.to_datetime(["2024-02-29", None])}),
            [("d", "BYTES", [2], ["2024-02-29T00:00:00", None])],
        ),
        (pd.Series([True], name="y"), [("y", "BOOL", [1], [True])]),
        (pd.Series([1.0, np.nan]), [("predict", "FP64", [2], [1.0, None])]),
        ([1, 2], [("predict", "INT64", [2], [1, 2])]),
        ([], [("predict", "FP64", [0], [])]),
        ([[1.5, 2], [3, 4]], [("predict", "FP64", [2, 2], [1.5, 2, 3, 4])]),
        ([[1], [2, 3]], [("predict", "BYTES", [2], ["[1]", "[2,3]"])]),
        (["a", 1.5, None], [("predict", "BYTES", [3], ["a", "1.5", None])]),
        (
            [np.eye(2), np.ones((2, 3))],
            [("predict", "BYTES", [2], ["[[1.0,0.0],[0.0,1.0]]", WIDE])],
        ),
        ([{"k": [1]}], [("predict", "BYTES", [1], ['{"k":[1]}'])]),
        ([np.float32(0.5)], [("predict", "FP32", [1], [0.5])]),
        (7, [("predict", "INT64", [1], [7])]),
        (np.float64(0.5), [("predict", "FP64", [1], [0.5])]),
        ("text", [("predict", "BYTES", [1], ["text"])]),
        ([b"\xff"], [("predict", "BYTES", [1], ["/w=="])]),
        (
            {"y": np.array([1.5]), "z": ["a"], "n": 3},
            [("y", "FP64", [1], [1.5]), ("z", "BYTES", [1], ["a"]), ("n", "INT64", [1], [3])],
        ),
    ],
)
def test_predictions_become_outputs(prediction: Any, expected: list[Any]) -> None:
    body, length = v2.encode(v2.outputs_of(prediction), ASK, "churn", "7")
    assert length is None
    found = json.loads(body)["outputs"]
    assert [(t["name"], t["datatype"], t["shape"], t["data"]) for t in found] == expected


@pytest.mark.parametrize(
    "prediction",
    [
        object(),
        iter([1]),
        [object()],
        {},
        {"a": object()},
        pd.DataFrame([[1, 2]], columns=["y", "y"]),
        np.array([1 + 2j]),
        np.zeros(1, [("a", "i4")]),
        [2**70],
        {1: [1], "1": [2]},
    ],
)
def test_what_is_no_tensor_is_the_models_error(prediction: Any) -> None:
    with pytest.raises(RequestError) as caught:
        v2.outputs_of(prediction)
    assert (caught.value.status, caught.value.error_type) == (500, "model_error")


def test_text_that_utf8_cannot_hold_is_the_models_error() -> None:
    for binary in (False, True):
        with pytest.raises(RequestError) as caught:
            v2.encode(v2.outputs_of(["\ud800"]), ASK._replace(binary_output=binary), "churn", "7")
        assert (caught.value.status, caught.value.error_type) == (500, "model_error")


def test_arrays_may_be_written_as_they_are() -> None:
    outputs = [("label", np.array(["no", "yes"])), ("raw", np.array([b"a", b"bc"]))]
    body, _ = v2.encode(outputs, ASK, "churn", "7")
    assert [tensor["data"] for tensor in json.loads(body)["outputs"]] == [
        ["no", "yes"],
        ["YQ==", "YmM="],
    ]
    with pytest.raises(RequestError) as caught:
        v2.encode([("y", np.array([1j]))], ASK, "churn", "7")
    assert caught.value.status == 500
