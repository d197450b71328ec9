"""Each datatype both ways, in JSON and in binary, with the stock client at the other end."""

import base64
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http as stock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slipway_runtime import v2
from slipway_runtime.errors import RequestError

from .requests import ASK, NUMERIC, body_of, datatype_of, request_of, sent, stock_request


def _arrays() -> st.SearchStrategy[npt.NDArray[Any]]:
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)
    kinds = st.sampled_from(sorted(NUMERIC.values(), key=str))
    return kinds.flatmap(lambda kind: hnp.arrays(np.dtype(kind), shapes))


@settings(max_examples=150, deadline=None)
@given(array=_arrays(), binary=st.booleans())
def test_numbers_of_the_stock_client_arrive_as_they_are(
    array: npt.NDArray[Any], binary: bool
) -> None:
    request = stock_request({"x": array}, binary)
    tensor = request.inputs[0]
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype_of(array), array.shape)
    assert tensor.data.dtype == array.dtype
    np.testing.assert_array_equal(tensor.data, array)
    assert request.id == "42"


@settings(max_examples=150, deadline=None)
@given(array=_arrays(), binary=st.booleans())
def test_numbers_reach_the_stock_client_as_they_are(array: npt.NDArray[Any], binary: bool) -> None:
    request = ASK._replace(id="42", binary_output=binary)
    body, length = v2.encode([("first", array), ("second", array)], request, "churn", "7")
    assert (length is not None) == binary
    result = stock.InferenceServerClient.parse_response_body(body, header_length=length)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == (
        "42",
        "churn",
        "7",
    )
    for name in ("first", "second"):
        found = result.as_numpy(name)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found, array)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=5), max_size=4), binary=st.booleans())
def test_text_goes_both_ways(texts: list[str], binary: bool) -> None:
    tensor = stock_request({"x": np.array(texts, object)}, binary).inputs[0]
    assert tensor.data.tolist() == texts
    body, length = v2.encode([("y", tensor.data)], ASK._replace(binary_output=binary), "churn", "7")
    result = stock.InferenceServerClient.parse_response_body(body, header_length=length)
    found = [item if isinstance(item, str) else item.decode() for item in result.as_numpy("y")]
    assert found == texts


def test_bytes_that_are_not_utf8() -> None:
    raw = np.array([b"\xff\x00", b"ok"], object)
    assert stock_request({"x": raw}, True).inputs[0].data.tolist() == [b"\xff\x00", "ok"]
    body, length = v2.encode([("y", raw)], ASK._replace(binary_output=True), "churn", "7")
    result = stock.InferenceServerClient.parse_response_body(body, header_length=length)
    assert result.as_numpy("y").tolist() == raw.tolist()
    body, _ = v2.encode([("y", raw)], ASK, "churn", "7")
    output = json.loads(body)["outputs"][0]
    assert output["parameters"] == {"content_type": "base64"}
    echoed = {"name": "x", **{key: output[key] for key in ("shape", "datatype", "data")}}
    echoed["parameters"] = output["parameters"]
    assert request_of(echoed).inputs[0].data.tolist() == raw.tolist()


@pytest.mark.parametrize(
    "data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]], ids=["flat", "nested"]
)
@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT8", "UINT64"])
def test_json_data_are_flat_or_nested(data: Any, datatype: str) -> None:
    tensor = request_of(sent(datatype, [2, 3], data)).inputs[0]
    assert tensor.data.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert tensor.data.dtype == NUMERIC[datatype]


def test_optional_fields_may_be_null() -> None:
    item = sent("FP64", [1], [1]) | {"parameters": None}
    request = request_of(item, id=None, outputs=None, parameters=None)
    assert request == v2.InferRequest(None, request.inputs, (), {}, False)


def test_not_a_number_in_json_is_null_or_nan() -> None:
    body = body_of(sent("FP32", [4], [math.nan, None, math.inf, -math.inf]))
    assert b"NaN" in body
    np.testing.assert_array_equal(
        v2.decode(body, None).inputs[0].data, np.float32([np.nan, np.nan, np.inf, -np.inf])
    )
    answer, _ = v2.encode([("y", np.array([np.nan, 1.0]))], ASK, "churn", "7")
    assert json.loads(answer)["outputs"][0]["data"] == [None, 1.0]
    assert b"NaN" not in answer
    array = np.array([[np.nan, np.inf], [-np.inf, 0.1]])
    whole = np.array([2**63 - 1])
    answer, _ = v2.encode([("y", array), ("n", whole)], ASK, "churn", "7")
    result = stock.InferenceServerClient.parse_response_body(answer)
    np.testing.assert_array_equal(result.as_numpy("y"), array)
    np.testing.assert_array_equal(result.as_numpy("n"), whole)


def test_params_leave_the_protocols_own_out() -> None:
    parameters = {"binary_data_output": True, "triton_x": 1, "priority": 0, "content_type": "pd"}
    assert v2.params(request_of(sent("FP64", [1], [1]), parameters=parameters)) is None
    parameters["factor"] = 2
    assert v2.params(request_of(sent("FP64", [1], [1]), parameters=parameters)) == {"factor": 2}


def test_base64_is_read_as_leniently_as_by_mlflow() -> None:
    text = base64.encodebytes(bytes(range(100))).decode()
    item = sent("BYTES", [1], [text]) | {"parameters": {"content_type": "base64"}}
    assert request_of(item).inputs[0].data.tolist() == [bytes(range(100))]


def test_outputs_that_are_asked_for() -> None:
    outputs = [("a", np.array([1.5])), ("b", np.array(["x"], object)), ("c", np.array([3]))]
    asked = (v2.RequestedOutput("c", None), v2.RequestedOutput("a", False))
    request = ASK._replace(outputs=asked, binary_output=True)
    body, length = v2.encode(outputs, request, "churn", "7")
    assert length is not None
    document = json.loads(body[:length])
    assert "id" not in document
    assert document["outputs"] == [
        {"name": "c", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
        {"name": "a", "datatype": "FP64", "shape": [1], "data": [1.5]},
    ]
    assert body[length:] == b"\3" + b"\0" * 7
    for bad, message in (("d", r"outputs\[0\] is not an output"), ("n", "missing values")):
        request = ASK._replace(outputs=(v2.RequestedOutput(bad, True),))
        with pytest.raises(RequestError, match=message) as caught:
            v2.encode([("n", np.array([None], object))], request, "churn", "7")
        assert caught.value.status == 400
