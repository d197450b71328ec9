"""Requests of the protocol, written by hand and by its stock client."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http as stock

from slipway_runtime import v2
from slipway_runtime.errors import RequestError

SECRET = "sesame-4711"


NUMERIC = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


ASK = v2.InferRequest(None, (), (), {}, False)


def body_of(*inputs: dict[str, Any], **more: Any) -> bytes:
    """Returns the body of a request, all in JSON."""
    return json.dumps({"inputs": list(inputs), **more}).encode()


def sent(datatype: str, shape: list[int], data: Any, name: str = "x") -> dict[str, Any]:
    """Returns an input the way it is sent."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def request_of(*inputs: dict[str, Any], **more: Any) -> v2.InferRequest:
    """Returns what the runtime reads of inputs sent in JSON."""
    return v2.decode(body_of(*inputs, **more), None)


def fault_of(body: bytes, length: int | None = None) -> str:
    """Returns the message a broken request is answered with."""
    with pytest.raises(RequestError) as caught:
        v2.decode(body, length)
    error = caught.value
    assert (error.status, error.code, error.error_type) == (400, "BAD_REQUEST", "invalid_input")
    return error.message


def datatype_of(array: npt.NDArray[Any]) -> str:
    """Returns the datatype of an array."""
    return next((name for name, dtype in NUMERIC.items() if array.dtype == dtype), "BYTES")


def stock_inputs(values: dict[str, npt.NDArray[Any]], binary: bool) -> list[Any]:
    """Returns the stock client's inputs for arrays."""
    inputs = []
    for name, array in values.items():
        tensor = stock.InferInput(name, list(array.shape), datatype_of(array))
        inputs.append(tensor.set_data_from_numpy(array, binary_data=binary))
    return inputs


def stock_request(
    values: dict[str, npt.NDArray[Any]], binary: bool, outputs: list[Any] | None = None
) -> v2.InferRequest:
    """Returns what the runtime reads of a request that the stock client writes."""
    body, length = stock.InferenceServerClient.generate_request_body(
        stock_inputs(values, binary), outputs=outputs, request_id="42"
    )
    return v2.decode(body, length)
