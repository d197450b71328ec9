"""Models with a signature of tensors or without one, and what metadata say of signatures."""

import json

import mlflow
import numpy as np
import pytest
from mlflow.pyfunc import PyFuncModel

from slipway_runtime import v2
from slipway_runtime.errors import RequestError

from .requests import request_of, sent, stock_request
from .witness import WIDE, by_mlflow, by_protocol, specs_of


def test_tensors_reach_the_model_as_from_mlflow(witnesses: dict[str, PyFuncModel]) -> None:
    rows = [[1, 2.5], [3, 4.5]]
    expected = by_mlflow(witnesses["tensor"], {"inputs": rows})
    for datatype in ("FP32", "FP16"):
        request = request_of(sent(datatype, [2, 2], rows, "whatever"))
        assert by_protocol(witnesses["tensor"], request) == expected
    binary = stock_request({"x": np.array(rows, np.float32)}, True)
    assert v2.model_input(binary, specs_of(witnesses["tensor"])).flags.writeable
    assert by_protocol(witnesses["tensor"], binary) == expected
    for bad in (sent("FP64", [2, 2], rows), sent("FP32", [4], [1, 2, 3, 4])):
        with pytest.raises(mlflow.MlflowException):
            by_protocol(witnesses["tensor"], request_of(bad))
    with pytest.raises(RequestError, match="must be one tensor"):
        by_protocol(
            witnesses["tensor"], request_of(sent("FP32", [1], [1]), sent("FP32", [1], [1], "y"))
        )
    several = {"n": [1, 2], "s": [["a"], ["bc"]], "o": ["x", "y"]}
    inputs = [
        sent("INT32", [2], several["n"], "n"),
        sent("BYTES", [2, 1], several["s"], "s"),
        sent("BYTES", [2], several["o"], "o"),
    ]
    assert by_protocol(witnesses["tensors"], request_of(*inputs)) == by_mlflow(
        witnesses["tensors"], {"inputs": several}
    )
    with pytest.raises(RequestError, match="input n must be of numbers"):
        by_protocol(witnesses["tensors"], request_of(sent("BYTES", [1], ["1"], "n"), *inputs[1:]))
    with pytest.raises(RequestError, match="input s has an element that is null"):
        by_protocol(witnesses["tensors"], request_of(sent("BYTES", [1, 1], [None], "s")))


def test_models_without_a_signature(witnesses: dict[str, PyFuncModel]) -> None:
    model = witnesses["none"]
    one = sent("FP64", [2, 1], [1, 2])
    assert by_protocol(model, request_of(one)) == ["float64", (2, 1), "[[1.0], [2.0]]"]
    frame = [["x", "float64", "[1.0, 2.0]"]]
    assert by_protocol(model, request_of(one, parameters={"content_type": "pd"})) == frame
    text = sent("BYTES", [2], ["a", "b"], "y")
    assert by_protocol(model, request_of(one, text)) == by_mlflow(
        model, {"dataframe_split": {"columns": ["x", "y"], "data": [[1.0, "a"], [2.0, "b"]]}}
    )
    dates = sent("BYTES", [1], ["2024-02-29"]) | {"parameters": {"content_type": "datetime"}}
    request = request_of(dates, parameters={"content_type": "pd"})
    assert by_protocol(model, request)[0][1] == "datetime64[ns]"
    square = sent("FP64", [1, 2], [1, 2], "y")
    assert by_protocol(model, request_of(square, one, parameters={"content_type": "np"})) == [
        "float64",
        (1, 2),
        "[[1.0, 2.0]]",
    ]
    with pytest.raises(RequestError, match=r"must have the shape \[rows\]"):
        by_protocol(model, request_of(square, parameters={"content_type": "pd"}))
    assert set(by_protocol(model, request_of(one, square))) == {"x", "y"}


def test_tensors_of_dates_and_bytes() -> None:
    specs = [{"type": "tensor", "tensor-spec": {"dtype": "datetime64[ns]", "shape": [-1]}}]
    found = v2.model_input(request_of(sent("BYTES", [2], ["2024-02-29", None])), specs)
    assert found.dtype == "datetime64[ns]"
    assert [str(item)[:10] for item in found] == ["2024-02-29", "NaT"]
    with pytest.raises(RequestError, match=r"inputs\[0\] has an element that is not datetime64"):
        v2.model_input(request_of(sent("BYTES", [1], ["soon"])), specs)
    specs[0]["tensor-spec"] = {"dtype": "bytes", "shape": [-1]}
    found = v2.model_input(stock_request({"x": np.array([b"\xff", "a"], object)}, True), specs)
    assert found.tolist() == [b"\xff", b"a"]


TENSORS = [
    {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}},
    {"type": "tensor", "name": "b", "tensor-spec": {"dtype": "str", "shape": [-1]}},
]


def test_metadata() -> None:
    assert v2.server_metadata("1.2") == {
        "name": "slipway",
        "version": "1.2",
        "extensions": ["binary_tensor_data"],
    }
    inputs = json.loads(WIDE.to_dict()["inputs"])
    outputs = [TENSORS[0]]
    metadata = v2.model_metadata("churn", "7", inputs, outputs)
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == (
        "churn",
        ["7"],
        "mlflow",
    )
    described = {
        t["name"]: (t["datatype"], t["shape"], t.get("parameters")) for t in metadata["inputs"]
    }
    assert described["double"] == ("FP64", [-1], None)
    assert described["float"] == ("FP32", [-1], None)
    assert described["long"] == ("INT64", [-1], None)
    assert described["integer"] == ("INT32", [-1], None)
    assert described["boolean"] == ("BOOL", [-1], None)
    assert described["string"] == ("BYTES", [-1], None)
    assert described["binary"] == ("BYTES", [-1], {"content_type": "base64"})
    assert described["datetime"] == ("BYTES", [-1], {"content_type": "datetime"})
    assert described["list"] == ("BYTES", [-1], {"content_type": "json"})
    assert described["maybe"] == ("FP64", [-1], {"optional": True})
    assert metadata["outputs"] == [{"name": "predict", "datatype": "FP64", "shape": [-1]}]
    unknown = v2.model_metadata("churn", "7", None, None)
    assert (unknown["inputs"], unknown["outputs"]) == ([], [])
    tensors = v2.model_metadata("churn", "7", TENSORS, TENSORS)
    assert [tensor["name"] for tensor in tensors["inputs"]] == ["input-0", "b"]
    assert [tensor["datatype"] for tensor in tensors["outputs"]] == ["FP64", "BYTES"]
