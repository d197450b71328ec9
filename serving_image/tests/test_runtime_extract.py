"""The extractor against MLflow's own parsing and enforcement: the same matrix, or none."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc import scoring_server
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from slipway_runtime.extract import Extractor
from slipway_runtime.modelfile import ModelFile

KINDS = ("double", "float", "long", "integer", "boolean")
WHOLE = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**31) - 2, 2**31 + 2),
    st.integers(-(2**53) - 2, 2**53 + 2),
    st.integers(-(2**64) - 2, 2**64 + 2),
)
NUMBER = st.one_of(st.floats(), st.floats(-10, 10), st.floats(width=32), WHOLE)
ODD = st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.just("1.5"), st.lists(WHOLE))


def schema_of(kinds: list[str]) -> Schema:
    return Schema([ColSpec(DataType[kind], f"c{at}") for at, kind in enumerate(kinds)])


def extractor_of(schema: Schema) -> Extractor:
    extractor = Extractor.of(ModelFile({}, json.loads(schema.to_json()), None, False, None))
    assert extractor is not None
    return extractor


def theirs(schema: Schema, body: str) -> Any:
    """Returns the table that MLflow hands to the model, as a matrix."""
    data, _ = scoring_server._split_data_and_params(body)
    parsed = scoring_server.infer_and_parse_data(data, schema)
    return np.asarray(_enforce_schema(parsed, schema), dtype=np.float64)


def check(schema: Schema, body: str) -> bool:
    """Compares both on one body; returns whether the extractor took it."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    ours = extractor_of(schema).extract(request)
    if ours is None:
        return False
    assert ours.dtype == np.float64
    assert ours.flags.c_contiguous
    expected = theirs(schema, body)
    assert ours.tolist() == expected.tolist(), body
    return True


@st.composite
def requests(draw: st.DrawFn) -> tuple[Schema, str]:
    """Returns a signature and a request that is nearly right for it, or quite."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    names = [f"c{at}" for at in range(len(kinds))]
    values = {"boolean": st.booleans(), "long": WHOLE, "integer": WHOLE}
    count = draw(st.integers(0, 4))
    rows = [[draw(values.get(kind, NUMBER)) for kind in kinds] for _ in range(count)]
    if rows and draw(st.integers(0, 3)) == 0:
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(st.one_of(ODD, NUMBER))
    order = draw(st.permutations(range(len(kinds))))
    if draw(st.booleans()):
        order = list(range(len(kinds)))
    columns = [names[at] for at in order]
    rows = [[row[at] for at in order] for row in rows]
    change = draw(st.sampled_from(["none"] * 6 + ["extra", "missing", "twice", "ragged"]))
    if change == "extra":
        columns, rows = [*columns, "extra"], [[*row, draw(ODD)] for row in rows]
    elif change == "missing":
        columns, rows = columns[1:], [row[1:] for row in rows]
    elif change == "twice":
        columns, rows = [*columns, columns[0]], [[*row, 1.0] for row in rows]
    elif change == "ragged" and rows:
        rows[0] = rows[0][1:]
    form = draw(st.sampled_from(["split", "index", "records", "inputs", "instances"]))
    records = [dict(zip(columns, row, strict=False)) for row in rows]
    if form in ("split", "index"):
        content: dict[str, Any] = {"columns": columns, "data": rows}
        if form == "index":
            index = st.lists(st.one_of(WHOLE, st.booleans(), st.text(max_size=1)), max_size=4)
            content["index"] = draw(st.one_of(st.just(list(range(count))), index))
        return schema_of(kinds), json.dumps({"dataframe_split": content})
    if form == "records":
        return schema_of(kinds), json.dumps({"dataframe_records": records})
    if form == "instances":
        return schema_of(kinds), json.dumps({"instances": records})
    by_column = {name: [record.get(name) for record in records] for name in columns}
    return schema_of(kinds), json.dumps({"inputs": by_column})


@settings(max_examples=1500, deadline=None)
@given(requests())
def test_what_is_taken_is_what_mlflow_makes_of_it(case: tuple[Schema, str]) -> None:
    check(*case)


def test_no_client_fills_the_memory_with_names() -> None:
    extractor = extractor_of(schema_of(["double", "double"]))
    for at in range(500):
        more = [f"x{at}"] if at % 2 else [f"{at}-{n}" for n in range(1000)]
        columns = ["c1", "c0", *more]
        split = {"columns": columns, "data": [[2.5, 1.5, *[0.0] * len(more)]]}
        matrix = extractor.extract({"dataframe_split": split})
        assert matrix is not None
        assert matrix.tolist() == [[1.5, 2.5]]
    assert len(extractor._orders) <= 64
    assert max(map(len, extractor._orders)) < 30


PLAIN = [
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 2]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 2], [-0.0, 1e-300]]}}',
    '{"dataframe_split": {"columns": ["c1", "c0"], "data": [[1.5, 2]], "index": [0]}}',
    '{"dataframe_split": {"columns": ["c1", "x", "c0"], "data": [[1.5, "y", 2]]}}',
    '{"dataframe_records": [{"c1": 1, "c0": 2.5}, {"x": null, "c0": 2.5, "c1": 3}]}',
    '{"inputs": {"c0": [1.5], "c1": [2.5]}}',
    '{"instances": [{"c0": 1.5, "c1": 2.5}]}',
]
LEFT = [
    "{}",
    "[]",
    "1",
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": []}}',
    '{"dataframe_split": {"columns": ["c0"], "data": [[1.5]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [1.5, 2]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, true]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, null]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, "2"]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 9007199254740993]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 1e300]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 2]], "index": ["a"]}}',
    '{"dataframe_split": {"columns": ["c0", "c1", "c1"], "data": [[1.5, 2, 3]]}}',
    '{"dataframe_split": {"columns": ["c0", 1], "data": [[1.5, 2]]}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 2]], "more": 1}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1.5, 2]]}, "params": {}}',
    '{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1, 2]]}, "inputs": [[1, 2]]}',
    '{"dataframe_records": [{"c0": 2.5}]}',
    '{"dataframe_records": {"c0": 2.5, "c1": 1}}',
    '{"inputs": {"c0": [1.5], "c1": [2.5, 3.5]}}',
    '{"inputs": {"c0": [1.5], "c1": 2.5}}',
]


@pytest.mark.parametrize("body", PLAIN)
def test_plain_requests_are_taken(body: str) -> None:
    assert check(schema_of(["double", "double"]), body)


@pytest.mark.parametrize("body", LEFT)
def test_other_requests_are_left(body: str) -> None:
    assert not check(schema_of(["double", "double"]), body)


@pytest.mark.parametrize(
    ("kind", "taken", "left"),
    [
        ("double", "0.1", "false"),
        ("float", "0.1", '"0.1"'),
        ("long", "9007199254740991", "9007199254740992"),
        ("long", "3", "3.0"),
        ("integer", "-2147483648", "2147483648"),
        ("boolean", "true", "1"),
    ],
)
def test_the_types_taken(kind: str, taken: str, left: str) -> None:
    for value, expected in ((taken, True), (left, False)):
        for rows in (f"[[{value}]]", f"[[{value}], [{value}]]"):
            body = f'{{"dataframe_split": {{"columns": ["c0"], "data": {rows}}}}}'
            assert check(schema_of([kind]), body) == expected, body


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32"])
def test_an_unnamed_tensor(dtype: str) -> None:
    schema = Schema([TensorSpec(np.dtype(dtype), (-1, 2))])
    for name in ("inputs", "instances"):
        assert check(schema, json.dumps({name: [[1, 2], [3, 4]]}))
        assert check(schema, json.dumps({name: [[1.5, 2.1]]})) == dtype.startswith("float")
        assert not check(schema, json.dumps({name: [[1, 2, 3]]}))
    assert not check(schema, json.dumps({"dataframe_split": {"data": [[1, 2]]}}))


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        [],
        [{"type": "string", "name": "a", "required": True}],
        [{"type": "double", "name": "a", "required": False}],
        [{"type": "double", "required": True}],
        [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2, 2]}}],
        [{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 2]}}],
        [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}],
        [{"type": {"type": "array"}, "name": "a", "required": True}],
    ],
)
def test_signatures_left_to_mlflow(inputs: Any) -> None:
    assert Extractor.of(ModelFile({}, inputs, None, False, None)) is None


def test_a_signature_with_params_is_left_to_mlflow() -> None:
    inputs = json.loads(schema_of(["double"]).to_json())
    assert Extractor.of(ModelFile({}, inputs, None, True, None)) is None
