"""Requests that are not of the protocol, one fault each."""

import contextlib
import math
import tracemalloc
from typing import Any

import pytest

from slipway_runtime import v2
from slipway_runtime.errors import RequestError

from .requests import NUMERIC, SECRET, body_of, fault_of, sent

HEADER = "Inference-Header-Content-Length"


GOOD = sent("FP64", [2], [1.0, 2.0])


BINARY = {"name": "x", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", HEADER),
    "not JSON": (b"{" + SECRET.encode(), "The body is not valid JSON"),
    "not UTF-8": (b'{"id": "\xff"}', "The body is not valid UTF-8"),
    "half a character": (b'{"id": "\\ud800"}', "The body is not valid UTF-8"),
    "not an object": (b"[]", "The body must be a JSON object"),
    "too deep": (b"[" * 200_000, "nesting too deep"),
    "digits": (b'{"inputs": ' + b"9" * 5000 + b"}", "number too long"),
    "no inputs": (body_of(), "inputs must be a list"),
    "inputs not a list": (b'{"inputs": {}}', "inputs must be a list"),
    "id a number": (body_of(GOOD, id=4711), "id must be"),
    "parameters": (body_of(GOOD, parameters=[SECRET]), "parameters must be"),
    "binary_data_output": (
        body_of(GOOD, parameters={"binary_data_output": SECRET}),
        "parameters.binary_data_output must be",
    ),
    "input not an object": (body_of(GOOD, SECRET), "inputs[1] must be"),  # type: ignore[arg-type]
    "no name": (body_of(GOOD | {"name": ""}), "inputs[0].name"),
    "name a number": (body_of(GOOD | {"name": 4711}), "inputs[0].name"),
    "datatype": (body_of(GOOD | {"datatype": SECRET}), "inputs[0].datatype"),
    "datatype a list": (body_of(GOOD | {"datatype": [SECRET]}), "inputs[0].datatype"),
    "BF16": (body_of(GOOD | {"datatype": "BF16"}), "inputs[0].datatype"),
    "no shape": (body_of({**GOOD, "shape": None}), "inputs[0].shape"),
    "negative": (body_of(GOOD | {"shape": [-1]}), "inputs[0].shape"),
    "huge": (body_of(GOOD | {"shape": [2**64]}), "inputs[0].shape"),
    "true in a shape": (body_of(GOOD | {"shape": [True, 2]}), "inputs[0].shape"),
    "dimensions": (body_of(GOOD | {"shape": [1] * 40 + [2]}), "inputs[0].shape"),
    "empty and huge": (body_of(sent("FP64", [0, 2**31 - 1, 2**31 - 1], [])), "inputs[0].shape"),
    "no data": (body_of(GOOD | {"data": None}), "inputs[0].data"),
    "short": (body_of(GOOD | {"data": [1.0]}), "inputs[0].data"),
    "claims": (body_of(GOOD | {"shape": [2**31 - 1, 2**31 - 1]}), "inputs[0].data"),
    "nested wrongly": (body_of(sent("FP64", [2, 2], [[1], [2, 3, 4]])), "inputs[0].data"),
    "half nested": (body_of(sent("FP64", [2, 2], [[1, 2], 3])), "inputs[0].data"),
    "nested too deep": (body_of(sent("FP64", [2], [[1], [2]])), "inputs[0].data"),
    "text for numbers": (body_of(sent("FP64", [1], [SECRET])), "inputs[0].data"),
    "true for numbers": (body_of(sent("INT64", [2], [True, 2])), "inputs[0].data"),
    "fraction for integers": (body_of(sent("INT64", [1], [1.5])), "inputs[0].data"),
    "null for integers": (body_of(sent("INT64", [1], [None])), "inputs[0].data"),
    "one for true": (body_of(sent("BOOL", [1], [1])), "inputs[0].data"),
    "numbers for text": (body_of(sent("BYTES", [1], [4711])), "inputs[0].data"),
    "INT8": (body_of(sent("INT8", [1], [128])), "inputs[0].data has a number out of"),
    "UINT8": (body_of(sent("UINT8", [1], [-1])), "inputs[0].data has a number out of"),
    "UINT64": (body_of(sent("UINT64", [1], [-1])), "inputs[0].data has a number out of"),
    "INT64": (body_of(sent("INT64", [1], [2**63])), "inputs[0].data has a number out of"),
    "INT64 by far": (body_of(sent("INT64", [1], [10**30])), "inputs[0].data must be"),
    "FP64": (body_of(sent("FP64", [2], [10**400, math.nan])), "inputs[0].data has a number out"),
    "FP32": (body_of(sent("FP32", [1], [1e39])), "inputs[0].data has a number out of"),
    "FP16": (body_of(sent("FP16", [1], [65520])), "inputs[0].data has a number out of"),
    "base64": (
        body_of(sent("BYTES", [1], ["abc"]) | {"parameters": {"content_type": "base64"}}),
        "inputs[0].data has an element that is not base64",
    ),
    "two of one name": (body_of(GOOD, GOOD), "two tensors of one name"),
    "binary without its header": (body_of(BINARY), HEADER),
    "shared memory": (
        body_of(GOOD | {"parameters": {"shared_memory_region": SECRET}}),
        "shared memory is not supported",
    ),
    "outputs": (body_of(GOOD, outputs={"name": SECRET}), "outputs must be"),
    "output": (body_of(GOOD, outputs=[SECRET]), "outputs[0] must be"),
    "output name": (body_of(GOOD, outputs=[{"name": 4711}]), "outputs[0].name"),
    "output twice": (body_of(GOOD, outputs=[{"name": SECRET}] * 2), "one name twice"),
    "output in shared memory": (
        body_of(GOOD, outputs=[{"name": "y", "parameters": {"shared_memory_region": SECRET}}]),
        "shared memory is not supported",
    ),
    "nested without a shape": (body_of(sent("FP64", [], [[1]])), "inputs[0].data"),
    "binary_data": (
        body_of(GOOD, outputs=[{"name": "y", "parameters": {"binary_data": 4711}}]),
        "outputs[0].parameters.binary_data must be",
    ),
    "classification": (
        body_of(GOOD, outputs=[{"name": "y", "parameters": {"classification": 3}}]),
        "classification extension is not supported",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_request(name: str) -> None:
    body, expected = BROKEN[name]
    message = fault_of(body)
    assert expected in message
    assert SECRET not in message and "4711" not in message


TEXTS = {"name": "x", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}}


@pytest.mark.parametrize(
    ("item", "tail", "expected"),
    [
        (BINARY, b"\0" * 15, "binary_data_size must be a number of bytes that follow"),
        (BINARY, b"\0" * 17, "longer than its JSON object"),
        (BINARY | {"shape": [3]}, b"\0" * 16, "not the size of a tensor of its shape"),
        (BINARY | {"shape": [2**31 - 1] * 2}, b"\0" * 16, "not the size of a tensor"),
        (BINARY | {"data": [1, 2]}, b"\0" * 16, "not both"),
        (BINARY | {"parameters": {"binary_data_size": -1}}, b"", "must be a number of bytes"),
        (BINARY | {"parameters": {"binary_data_size": 16.0}}, b"\0" * 16, "number of bytes"),
        (BINARY | {"datatype": "BOOL", "shape": [16]}, b"\2" * 16, "neither 0 nor 1"),
        (TEXTS, b"\1\0\0\0a\1\0\0\0", "must be a number of bytes"),
        (TEXTS, b"\1\0\0\0a\2\0\0\0b", "not the size of a tensor"),
        (TEXTS, b"\1\0\0\0a\0\0\0\0b", "not the size of a tensor"),
        (TEXTS, b"\3\0\0\0abc\0\0\0", "not the size of a tensor"),
        (TEXTS, b"\xff\xff\xff\xffabcdef", "not the size of a tensor"),
        (TEXTS | {"shape": [2**31 - 1]}, b"\0" * 10, "not the size of a tensor"),
    ],
)
def test_broken_binary_data(item: dict[str, Any], tail: bytes, expected: str) -> None:
    header = body_of(item)
    assert expected in fault_of(header + tail, len(header))


@pytest.mark.parametrize("length", [-1, 0, 10**9])
def test_broken_header_length(length: int) -> None:
    assert HEADER in fault_of(body_of(GOOD), length)


def _peak(body: bytes, length: int | None) -> int:
    """Returns the most bytes that were in use while a body was read."""
    tracemalloc.start()
    try:
        with contextlib.suppress(RequestError):
            v2.decode(body, length)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_memory_is_taken_for_what_a_request_claims() -> None:
    for datatype in [*NUMERIC, "BYTES"]:
        for shape in ([2**31 - 1], [2**30, 2**30], [0, 2**20], [2**20, 0]):
            item = {"name": "x", "datatype": datatype, "shape": shape}
            header = body_of(item | {"parameters": {"binary_data_size": 8}})
            assert _peak(header + b"\0" * 8, len(header)) < 100_000
            assert _peak(body_of(item | {"data": [1]}), None) < 100_000
            assert _peak(body_of(item | {"data": []}), None) < 100_000
