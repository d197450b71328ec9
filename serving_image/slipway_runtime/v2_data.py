"""The elements of tensors in the Open Inference Protocol: from JSON and binary data (see `v2`).

Nothing is allocated from what a request merely claims: a shape is compared with the data that is
there before an array is made of it, so memory stays in proportion to the body.
"""

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from slipway_runtime.errors import RequestError

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
"""The protocol's datatypes but BF16, which numpy has no type for."""

_DIMENSIONS_LIMIT: Final = 32
_EXTENT_LIMIT: Final = 2**31 - 1
_EMPTY_LIMIT: Final = 2**20
_WORDS: Final = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "O": "strings"}
_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    # null is how a NaN is written where JSON has no word for it.
    "f": frozenset({int, float, type(None)}),
    "O": frozenset({str, type(None)}),
}
_LENGTH: Final = struct.Struct("<I")


def parse_json(text: bytes, field: str) -> Any:
    """Returns the value of a JSON text; NaN and Infinity are allowed, as in MLflow.

    Args:
        text: the text, in UTF-8.
        field: what it is, to begin a message with.

    Raises:
        RequestError: it is not JSON (400).
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(text.decode())
        if b"\\u" in text:
            # What no UTF-8 can hold could not be repeated in an answer.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        # Of the decoder's message only its fixed words and the position are told.
        where = f"line {error.lineno}, column {error.colno}"
        raise invalid(f"{field} is not valid JSON: {error.msg} ({where}).") from error
    except UnicodeError as error:
        raise invalid(f"{field} is not valid UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise invalid(f"{field} is JSON with a number too long or nesting too deep.") from error
    return value


def from_base64(element: str | bytes, field: str) -> bytes:
    """Returns the bytes that a text in base64 stands for, read as leniently as MLflow reads it.

    Raises:
        RequestError: it is not base64 (400).
    """
    try:
        return base64.b64decode(element)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"{field} has an element that is not base64.") from error


def invalid(message: str) -> RequestError:
    """Returns the error for a request that is not as it must be (400)."""
    return RequestError(400, "BAD_REQUEST", message, "invalid_input")


def count_of(shape: Any, field: str) -> int:
    """Returns the number of elements of a tensor of this shape, once it is known to be a shape."""
    if type(shape) is not list or len(shape) > _DIMENSIONS_LIMIT:
        raise invalid(f"{field}.shape must be a list of at most {_DIMENSIONS_LIMIT} whole numbers.")
    for extent in shape:
        if type(extent) is not int or not 0 <= extent <= _EXTENT_LIMIT:
            raise invalid(f"{field}.shape must have whole numbers from 0 to {_EXTENT_LIMIT}.")
    count = math.prod(shape)
    # Or a few bytes could make a model allocate for each of a billion columns without a row.
    if not count and math.prod(extent for extent in shape if extent) > _EMPTY_LIMIT:
        raise invalid(f"{field}.shape is too large for a tensor without elements.")
    return count


def from_json(
    data: Any, shape: list[int], count: int, dtype: np.dtype[Any], field: str
) -> npt.NDArray[Any]:
    """Returns the elements of a tensor whose data are JSON, in one dimension."""
    if type(data) is not list:
        raise invalid(f"{field}.data must be a list.")
    if data and type(data[0]) is list:
        data = _flattened(data, shape, field)
    elif len(data) != count:
        raise invalid(f"{field}.data must have as many elements as its shape says.")
    kind = dtype.kind
    if not _TYPES[kind].issuperset(map(type, data)):
        raise invalid(f"{field}.data must be {_WORDS.get(kind, 'numbers')}, by its datatype.")
    if kind == "O":
        strings = np.empty(count, dtype)
        strings[:] = data
        return strings
    try:
        if kind != "f" or dtype.itemsize == 8:
            return np.array(data, dtype)
        doubles = np.array(data, np.float64)
    except OverflowError as error:
        raise invalid(f"{field}.data has a number out of the range of its datatype.") from error
    with np.errstate(over="ignore"):
        numbers = doubles.astype(dtype)
    if np.isinf(numbers).any() and not np.isinf(doubles[np.isinf(numbers)]).all():
        raise invalid(f"{field}.data has a number out of the range of its datatype.")
    return numbers


def _flattened(data: list[Any], shape: list[int], field: str) -> list[Any]:
    """Returns the elements of lists nested the way ``shape`` says."""
    fault = f"{field}.data must be flat, or nested the way its shape says."
    if not shape or len(data) != shape[0]:
        raise invalid(fault)
    for extent in shape[1:]:
        if set(map(type, data)) - {list} or set(map(len, data)) - {extent}:
            raise invalid(fault)
        data = list(chain.from_iterable(data))
    return data


def from_binary(
    body: bytes, start: int, size: int, count: int, dtype: np.dtype[Any], field: str
) -> npt.NDArray[Any]:
    """Returns the elements of a tensor whose data are binary, in one dimension."""
    fault = f"{field}.parameters.binary_data_size is not the size of a tensor of its shape."
    if dtype.kind != "O":
        if size != count * dtype.itemsize:
            raise invalid(fault)
        if dtype.kind == "b" and np.frombuffer(body, np.uint8, count, start).max(initial=0) > 1:
            raise invalid(f"{field} has a BOOL that is neither 0 nor 1.")
        return np.frombuffer(body, dtype, count, start)
    end = start + size
    if size < count * _LENGTH.size:
        raise invalid(fault)
    strings = np.empty(count, dtype)
    for index in range(count):
        if end - start < _LENGTH.size:
            raise invalid(fault)
        length: int = _LENGTH.unpack_from(body, start)[0]
        start += _LENGTH.size
        if length > end - start:
            raise invalid(fault)
        element = body[start : start + length]
        start += length
        try:
            strings[index] = element.decode()
        except UnicodeDecodeError:
            strings[index] = element
    if start != end:
        raise invalid(fault)
    return strings
