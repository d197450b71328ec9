"""Answers of the Open Inference Protocol: named arrays to a body (see `v2`)."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from slipway_runtime.errors import RequestError
from slipway_runtime.v2_data import DTYPES, invalid
from slipway_runtime.v2_request import InferRequest

_DATATYPES: Final[Mapping[str, str]] = {
    dtype.newbyteorder("=").str: datatype for datatype, dtype in DTYPES.items()
}
_NATIVE: Final[Mapping[str, npt.DTypeLike]] = {
    datatype: dtype.newbyteorder("=") for datatype, dtype in DTYPES.items()
}


def encode(
    outputs: Sequence[tuple[str, npt.NDArray[Any]]],
    request: InferRequest,
    model_name: str,
    model_version: str,
) -> tuple[bytes, int | None]:
    """Returns the body of an answer.

    Data in JSON are flat. NaN is written as null and an infinity as the word ``Infinity``, which
    is what the protocol's clients read; binary data hold either as it is. Elements that are bytes
    are base64 in JSON, which the output's parameter ``content_type`` then says.

    Args:
        outputs: names and arrays of bool, integers, floats, text or bytes, or objects of str,
            bytes and None, from `v2_outputs.outputs_of`.
        request: the request that is answered.
        model_name: the model's name.
        model_version: its version.

    Returns:
        The body, and the length of its JSON object where binary data follow it, else None: the
        value of the HTTP header ``Inference-Header-Content-Length``.

    Raises:
        RequestError: the request asks for an output there is not (400), or for binary data that
            would have to hold a null (400); an array cannot be expressed (500).
    """
    if request.outputs:
        by_name = dict(outputs)
        wanted = []
        for index, output in enumerate(request.outputs):
            if output.name not in by_name:
                raise invalid(f"outputs[{index}] is not an output of this model.")
            binary = request.binary_output if output.binary is None else output.binary
            wanted.append((output.name, by_name[output.name], binary))
    else:
        wanted = [(name, array, request.binary_output) for name, array in outputs]
    document: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if request.id is not None:
        document["id"] = request.id
    tail: list[bytes] = []
    endless = False
    described = []
    try:
        for name, array, binary in wanted:
            datatype = _datatype(array)
            tensor: dict[str, Any] = {
                "name": name,
                "datatype": datatype,
                "shape": list(array.shape),
            }
            if binary:
                tail.append(_binary(array, datatype))
                tensor["parameters"] = {"binary_data_size": len(tail[-1])}
            elif datatype == "BYTES":
                data = array.ravel().tolist()
                if any(isinstance(item, bytes) for item in data):
                    data = [None if item is None else _base64(item) for item in data]
                    tensor["parameters"] = {"content_type": "base64"}
                tensor["data"] = data
            else:
                flat = np.ascontiguousarray(array, _NATIVE[datatype]).ravel()
                endless = endless or (array.dtype.kind == "f" and bool(np.isinf(flat).any()))
                tensor["data"] = flat
            described.append(tensor)
        document["outputs"] = described
        header = _endless(document) if endless else _finite(document)
    except (TypeError, ValueError) as error:
        raise unwritable() from error
    return b"".join([header, *tail]), len(header) if tail else None


def unwritable() -> RequestError:
    """Returns the error for a prediction that the protocol has no words for (500)."""
    message = "The model's prediction cannot be written as tensors."
    return RequestError(500, "INTERNAL_ERROR", message, "model_error")


def _datatype(array: npt.NDArray[Any]) -> str:
    """Returns the protocol's datatype of an array."""
    dtype = array.dtype
    if dtype.kind in "US":
        return "BYTES"
    datatype = _DATATYPES.get(dtype.newbyteorder("=").str)
    if datatype is None:
        raise unwritable()
    return datatype


def _binary(array: npt.NDArray[Any], datatype: str) -> bytes:
    """Returns the binary data of an array: little-endian, row by row."""
    if datatype != "BYTES":
        return array.astype(DTYPES[datatype], copy=False).tobytes()
    parts = []
    for item in array.ravel().tolist():
        if item is None:
            raise invalid("An output has missing values, which binary data cannot hold: ask JSON.")
        element = item if isinstance(item, bytes) else item.encode()
        parts += [len(element).to_bytes(4, "little"), element]
    return b"".join(parts)


def _base64(item: str | bytes) -> str:
    return base64.b64encode(item.encode() if isinstance(item, str) else item).decode()


def _finite(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _endless(document: dict[str, Any]) -> bytes:
    """Writes a document with infinities, which orjson would write as null, as a NaN."""
    for tensor in document["outputs"]:
        data = tensor.get("data")
        if isinstance(data, np.ndarray):
            items = data.tolist()
            if data.dtype.kind == "f":
                items = [None if math.isnan(item) else item for item in items]
            tensor["data"] = items
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
