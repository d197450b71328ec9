"""The short way from a request to an array."""

import json
import math
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.types import Schema

from slipway_runtime import v2

from .requests import NUMERIC, request_of, sent, stock_request

NAMES = ["a", "b", "c"]


def _column(datatype: str, data: list[Any], name: str, shape: list[int] | None = None) -> Any:
    return sent(datatype, [len(data)] if shape is None else shape, data, name)


@pytest.mark.parametrize("binary", [False, True])
def test_matrix_is_in_the_signatures_order(binary: bool) -> None:
    values = {
        "c": np.array([7, 8], np.int64),
        "a": np.array([[0.1], [0.2]]),
        "b": np.array([1.5, 2.5], np.float32),
    }
    found = v2.matrix(stock_request(values, binary), NAMES, ["double", "float", "long"])
    assert found is not None and found.dtype == np.float64 and found.flags.c_contiguous
    assert found.flags.writeable
    assert found.tolist() == [[0.1, 1.5, 7.0], [0.2, 2.5, 8.0]]
    rows = {"all": np.arange(6.0).reshape(2, 3)}
    whole = v2.matrix(stock_request(rows, binary), NAMES, ["double"] * 3)
    assert whole is not None and whole.flags.c_contiguous and whole.flags.writeable
    assert whole.flags.aligned
    assert whole.tolist() == rows["all"].tolist()


@pytest.mark.parametrize(
    "inputs",
    [
        [_column("FP64", [1], "a"), _column("FP64", [1], "b")],
        [_column("FP64", [1], name) for name in ("a", "b", "d")],
        [_column("FP64", [1], name) for name in ("a", "b", "c", "d")],
        [_column("FP64", [1, 2], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("FP64", [1], "a"), *(_column("FP64", [1, 2], name, [1, 2]) for name in "bc")],
        [_column("FP64", [1], "a", []), *(_column("FP64", [1], name) for name in "bc")],
        [_column("FP64", [None], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("FP64", [math.inf], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("INT64", [2**53], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("UINT64", [2**64 - 1], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("BOOL", [True], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("BYTES", ["1"], "a"), *(_column("FP64", [1], name) for name in "bc")],
        [_column("FP64", [1, 2, 3], "a", [1, 3])],
        [_column("FP64", [1, 2, 3], "x", [3])],
        [_column("FP64", [1, 2], "x", [1, 2])],
        [_column("INT64", [1, 2, 2**60], "x", [1, 3])],
        [_column("BYTES", ["1", "2", "3"], "x", [1, 3])],
    ],
)
def test_matrix_is_only_for_what_is_plainly_right(inputs: list[dict[str, Any]]) -> None:
    assert v2.matrix(request_of(*inputs), NAMES, ["double"] * 3) is None


@pytest.mark.parametrize("kind", ["double", "float", "long", "integer", "boolean"])
@pytest.mark.parametrize("datatype", NUMERIC)
def test_matrix_agrees_with_mlflow(datatype: str, kind: str) -> None:
    specs = [{"type": kind, "name": "x", "required": True}]
    schema = Schema.from_json(json.dumps(specs))
    request = request_of(
        sent(datatype, [2], [True, False] if datatype == "BOOL" else [1, 100], "x")
    )
    found = v2.matrix(request, ["x"], [kind])
    try:
        expected = mlflow.models.utils._enforce_schema(v2.model_input(request, specs), schema)
    except mlflow.MlflowException:
        assert found is None
        return
    if found is not None:
        np.testing.assert_array_equal(found, expected.to_numpy(np.float64))
    own = v2.model_metadata("m", "1", specs, None)["inputs"][0]["datatype"]
    assert found is not None or datatype != own
