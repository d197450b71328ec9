"""Requests of every kind, good and broken: they are read or refused, and nothing else."""

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.pyfunc import _validate_prediction_input
from mlflow.types import DataType, Schema

from slipway_runtime import v2
from slipway_runtime.errors import RequestError

from .requests import NUMERIC, SECRET, body_of, fault_of, request_of, sent
from .witness import SIGNATURES

NAMES = [kind.name for kind in DataType.all_types()] + ["list", "object", "map", "any", "n", "s"]
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.integers()
    | st.floats()
    | st.sampled_from([SECRET, "", "x", "FP64", "BYTES", "BOOL", "INT8", 2**64, -1, 1e39]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just(SECRET), inner, max_size=1),
    max_leaves=6,
)
_PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "binary_data_size": st.integers(-1, 20),
        "binary_data": st.booleans(),
        "binary_data_output": st.booleans(),
        "content_type": st.sampled_from(["base64", "pd", "np", "datetime", SECRET]),
    },
)

_SOME_NAMES = st.lists(st.sampled_from([*NAMES, SECRET]), min_size=1, max_size=4, unique=True)


def _elements(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        texts = [SECRET, "", "YWI=", "2024-02-29", "9999-99-99", "[1]", '{"a": 1}', "NaN", "\x00"]
        return st.none() | st.sampled_from(texts) | st.text(max_size=3)
    if datatype == "BOOL":
        return st.booleans()
    if datatype.startswith("FP"):
        return st.sampled_from([None, 0, 1.5, -2, math.inf, 60000])
    info = np.iinfo(NUMERIC[datatype])
    return st.integers(int(info.min), int(info.max))


@st.composite
def _inputs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draws inputs that are right in themselves, most of the time with one number of rows."""
    rows = draw(st.integers(0, 3))
    shapes = st.sampled_from([[rows], [rows], [rows, 1], [rows, 2]])
    shapes |= st.lists(st.integers(0, 3), max_size=3)
    inputs = []
    for name in draw(_SOME_NAMES):
        datatype = draw(st.sampled_from([*NUMERIC, "BYTES"]))
        shape = draw(shapes)
        size = math.prod(shape)
        data = draw(st.lists(_elements(datatype), min_size=size, max_size=size))
        inputs.append(sent(datatype, shape, data, name))
    return inputs


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields each place in a JSON value, as its container and its key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@st.composite
def _broken(draw: st.DrawFn) -> dict[str, Any]:
    """Draws a request that is right, but for up to two places."""
    document: dict[str, Any] = {
        "id": "42",
        "inputs": copy.deepcopy(draw(_inputs())),
        "outputs": [{"name": "predict", "parameters": draw(_PARAMETERS)}],
        "parameters": draw(_PARAMETERS),
    }
    for tensor in document["inputs"]:
        tensor["parameters"] = draw(st.just({}) | st.just({}) | _PARAMETERS)
    for _ in range(draw(st.integers(0, 2))):
        container, key = draw(st.sampled_from(list(_places(document))))
        if isinstance(container, dict) and draw(st.booleans()):
            container.pop(key, None)
        else:
            container[key] = draw(_VALUES)
    return document


@settings(max_examples=500, deadline=None)
@given(
    document=_broken(),
    tail=st.binary(max_size=20),
    length=st.none() | st.integers(-1, 40),
    cut=st.integers(1, 60),
)
def test_whatever_is_sent_is_read_or_refused(
    document: Any, tail: bytes, length: int | None, cut: int
) -> None:
    header = json.dumps(document).encode()
    for body, end in (
        (header, None),
        (header + tail, len(header)),
        (header + tail, length),
        (header[:-cut] + tail, None),
    ):
        try:
            request = v2.decode(body, end)
        except RequestError as error:
            assert error.status == 400
            assert SECRET not in error.message
            continue
        for tensor in request.inputs:
            assert tensor.data.shape == tensor.shape
            assert tensor.data.dtype == NUMERIC.get(tensor.datatype, np.object_)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), length=st.none() | st.integers(-5, 250))
def test_any_bytes_are_refused(body: bytes, length: int | None) -> None:
    fault_of(body, length)


@settings(max_examples=400, deadline=None)
@given(inputs=_inputs(), kind=st.sampled_from([None, "pd", "np", SECRET]))
def test_whatever_tensors_fit_a_signature_or_are_refused(
    inputs: list[dict[str, Any]], kind: str | None
) -> None:
    parameters = {} if kind is None else {"content_type": kind}
    request = v2.decode(body_of(*inputs, parameters=parameters), None)
    for name, signature in SIGNATURES.items():
        columns = [] if signature is None else signature.inputs.inputs
        # Of a signature of many columns those that were sent, or nothing would ever fit.
        names = {tensor.name for tensor in request.inputs}
        chosen = [spec for spec in columns if name != "wide" or spec.name in names]
        specs = [spec.to_dict() for spec in chosen]
        try:
            given_to_model = v2.model_input(request, specs)
            if specs:
                _validate_prediction_input(given_to_model, None, Schema(chosen), None)
        except RequestError as error:
            assert error.status == 400
            assert SECRET not in error.message
        except mlflow.MlflowException as error:
            assert error.error_class == "SCHEMA_ENFORCEMENT_FAILED"


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.floats(width=32), st.integers(-(2**60), 2**60), st.integers(-5, 2**31 - 1)),
        min_size=1,
        max_size=3,
    )
)
def test_the_short_way_and_the_long_way_are_one(rows: list[tuple[float, int, int]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    names, types = ["a", "b", "c"], ["double", "long", "double"]
    specs = [
        {"type": kind, "name": name, "required": True}
        for kind, name in zip(types, names, strict=True)
    ]
    request = request_of(
        sent("FP32", [len(rows)], columns[0], "a"),
        sent("INT64", [len(rows)], columns[1], "b"),
        sent("INT32", [len(rows), 1], columns[2], "c"),
    )
    found = v2.matrix(request, names, types)
    schema = Schema.from_json(json.dumps(specs))
    expected, _ = _validate_prediction_input(v2.model_input(request, specs), None, schema, None)
    plain = all(abs(row[0]) < 2**53 and abs(row[1]) < 2**53 for row in rows)
    assert (found is not None) == plain
    if found is not None:
        np.testing.assert_array_equal(found, expected.to_numpy(np.float64))
