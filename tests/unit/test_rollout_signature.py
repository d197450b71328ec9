"""Which canaries can take stable's place, held against MLflow's own reading of requests."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mlflow.models import ModelSignature
from mlflow.models.utils import _enforce_params_schema, _enforce_schema
from mlflow.pyfunc.scoring_server import infer_and_parse_data
from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

from rollout.adapters.signature import differences


def signature(inputs: Any = None, outputs: Any = None, params: Any = None) -> dict[str, Any]:
    """As an MLmodel file has it."""
    return {
        key: None if value is None else json.dumps(value)
        for key, value in (("inputs", inputs), ("outputs", outputs), ("params", params))
    }


def column(name: str | None, kind: Any, required: bool | None = True) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": kind} if isinstance(kind, str) else dict(kind)
    if name is not None:
        spec["name"] = name
    return spec if required is None else spec | {"required": required}


def tensor(shape: list[int], dtype: str = "float64", name: str | None = None) -> dict[str, Any]:
    spec = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
    return spec if name is None else spec | {"name": name}


def taken(inputs: list[dict[str, Any]], request: dict[str, Any]) -> bool:
    """Whether MLflow takes a request for a model with these inputs."""
    schema = ModelSignature.from_dict(signature(inputs)).inputs
    try:
        data = infer_and_parse_data(copy.deepcopy(request), schema)
        _enforce_schema(data, schema)
    except Exception:
        return False
    return True


def lines(stable: Any, canary: Any) -> list[str]:
    return differences(signature(stable), signature(canary), ("version 1", "version 2"))


A = column("a", "long")
B = column("b", "string")
ROW = {"dataframe_split": {"columns": ["a", "b"], "data": [[3, "x"]]}}


def test_what_mlflow_writes_is_understood() -> None:
    written = ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.long, "a"),
                ColSpec(Array(Object([Property("x", DataType.string)])), "b", required=False),
            ]
        ),
        outputs=Schema([ColSpec(DataType.double)]),
    ).to_dict()
    assert differences(written, written) == []
    assert differences(written, {**written, "outputs": None}) == []
    assert differences(written, written | {"inputs": json.loads(written["inputs"])}) == []


@pytest.mark.parametrize(
    ("stable", "canary", "line", "request_of_stable"),
    [
        ([A, B], [A, B, column("c", "long")], "input c: missing in version 1, required long", ROW),
        (
            [A, B],
            [A, column("b", "double")],
            "input b: string in version 1, double in version 2",
            ROW,
        ),
        (
            [A, column("b", "string", False)],
            [A, B],
            "input b: optional string in version 1, required string in version 2",
            {"dataframe_records": [{"a": 1}]},
        ),
        (
            [column("a", {"type": "array", "items": {"type": "long"}})],
            [column("a", {"type": "array", "items": {"type": "double"}})],
            "input a: array of long in version 1, array of double in version 2",
            {"dataframe_records": [{"a": [3, 4]}]},
        ),
        (
            [column("a", {"type": "object", "properties": {"x": {"type": "long"}}})],
            [column("a", {"type": "object", "properties": {"y": {"type": "long"}}})],
            "input a: object {x: long} in version 1, object {y: long} in version 2",
            {"dataframe_records": [{"a": {"x": 3}}]},
        ),
        (
            [column("a", {"type": "object", "properties": {"x": {"type": "long"}}})],
            [
                column(
                    "a",
                    {
                        "type": "object",
                        "properties": {
                            "x": {"type": "long"},
                            "y": {"type": "long", "required": True},
                        },
                    },
                )
            ],
            "input a: object {x: long} in version 1, object {x: long, y: long} in version 2",
            {"dataframe_records": [{"a": {"x": 3}}]},
        ),
        (
            [column("a", "any")],
            [column("a", "long")],
            "input a: any in version 1, long in version 2",
            {"dataframe_records": [{"a": "x"}]},
        ),
        (
            [column(None, "long")],
            [column(None, "long"), column(None, "long")],
            "inputs: 1 declared in version 1, 2 declared in version 2",
            {"dataframe_split": {"data": [[1]]}},
        ),
        (
            [column(None, "long")],
            [A],
            "inputs: columns without names in version 1, columns with names in version 2",
            {"dataframe_split": {"data": [[1]]}},
        ),
        (
            [A],
            [A, column("c", "string", False)],
            "inputs: one column, whose values need no name in version 1, 2 columns in version 2",
            {"inputs": [1, 2]},
        ),
        (
            [A, B, column("c", {"type": "array", "items": {"type": "long"}})],
            [A, B, column("c", "any")],
            "inputs: a column of arrays or objects, so an object of lists is one row in version 1, "
            "no column of arrays or objects, so an object of lists is a table in version 2",
            None,  # taken, as two rows
        ),
        (
            [A, B],
            [B],
            "input a: long in version 1, missing (MLflow refuses one row with it) in version 2",
            {"inputs": {"a": 3, "b": "x"}},
        ),
        (
            [tensor([-1, 3])],
            [tensor([-1, 4])],
            "input 1: tensor of float64 (-1, 3) in version 1, tensor of float64 (-1, 4) in",
            {"inputs": [[1.0, 2.0, 3.0]]},
        ),
        (
            [tensor([-1, 3])],
            [tensor([-1, -1])],
            "input 1: tensor of float64 (-1, 3) in version 1, tensor of float64 (-1, -1) in",
            {"dataframe_split": {"columns": ["p", "q", "r"], "data": [[1.0, 2.0, 3.0]]}},
        ),
        (
            [tensor([-1, 3])],
            [tensor([-1, 3, 1])],
            "input 1: tensor of float64 (-1, 3) in version 1, tensor of float64 (-1, 3, 1) in",
            {"inputs": [[1.0, 2.0, 3.0]]},
        ),
        ([tensor([-1, 3])], [tensor([-1, 3], "float32")], "input 1: tensor of float64", None),
        (
            [tensor([-1, 3])],
            [A],
            "inputs: tensors without names in version 1, columns with names in version 2",
            {"inputs": [[1.0, 2.0, 3.0]]},
        ),
        (
            [tensor([-1, 3], name="t")],
            [tensor([-1, 3], name="t"), tensor([-1], name="u")],
            "input u: missing in version 1, required tensor of float64 (-1,) in version 2",
            {"inputs": {"t": [[1.0, 2.0, 3.0]]}},
        ),
        # MLflow takes these, and changes what they say.
        ([column("a", "double")], [A], "input a: double in version 1, long in version 2", None),
        ([column("a", "double")], [column("a", "float")], "input a: double in version 1", None),
        ([A], [column("a", "string")], "input a: long in version 1, string in version 2", None),
    ],
)
def test_a_canary_that_refuses_what_stable_takes(
    stable: Any, canary: Any, line: str, request_of_stable: Any
) -> None:
    found = lines(stable, canary)
    assert len(found) == 1
    assert found[0].startswith(line)
    assert "\n" not in found[0]
    if request_of_stable is not None:
        assert taken(stable, request_of_stable)
        assert not taken(canary, request_of_stable)


@pytest.mark.parametrize(
    ("stable", "canary", "request_of_stable"),
    [
        (
            [A, B, column("c", {"type": "array", "items": {"type": "long"}})],
            [A, column("c", {"type": "array", "items": {"type": "long"}})],
            {"inputs": {"a": 1, "b": "x", "c": [1, 2]}},
        ),
        ([A, B], [B, A], ROW),
        ([A, B], [column("a", "double"), column("b", "string", False)], ROW),
        ([A, B], [A, B, column("c", "long", False)], ROW),
        ([A, B], [A, column("b", "any")], ROW),
        ([column("a", "integer")], [A], {"inputs": {"a": [1, 2]}}),
        ([column("a", "float")], [column("a", "double")], {"inputs": [0.5]}),
        (
            [column(None, "long"), column(None, "long")],
            [column(None, "double")],
            {"dataframe_split": {"data": [[1, 5]]}},
        ),
        (
            [column("a", {"type": "array", "items": {"type": "string"}})],
            [column("a", {"type": "array", "items": {"type": "any"}}, False)],
            {"dataframe_records": [{"a": ["x"]}]},
        ),
        ([tensor([2, 3])], [tensor([-1, 3])], {"inputs": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}),
        ([tensor([-1], name="t"), tensor([-1], name="u")], [tensor([-1], name="u")], None),
    ],
)
def test_a_canary_that_takes_what_stable_takes(
    stable: Any, canary: Any, request_of_stable: Any
) -> None:
    assert lines(stable, canary) == []
    if request_of_stable is not None:
        assert taken(stable, request_of_stable)
        assert taken(canary, request_of_stable)


def param(name: str, kind: str, default: Any, shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "default": default, "shape": shape}


@pytest.mark.parametrize(
    ("stable", "canary", "line", "sent"),
    [
        ([param("t", "double", 0.5)], [param("t", "long", 1)], "param t: double in", {"t": 0.5}),
        (
            [param("t", "string", "a")],
            [param("t", "string", ["a"], [-1])],
            "param t: string in version 1, list of string in version 2",
            {"t": "b"},
        ),
        ([param("t", "long", 1)], [], "param t: long in version 1, missing in version 2", None),
        ([param("t", "long", 1)], [param("t", "double", 1.0)], None, {"t": 3}),
        ([param("t", "long", 1)], [param("t", "long", 9)], None, {"t": 3}),
        ([param("t", "long", 1)], [param("t", "long", 1), param("u", "long", 1)], None, {"t": 3}),
        ([], [param("t", "long", 1)], None, {}),
    ],
)
def test_params(stable: Any, canary: Any, line: str | None, sent: Any) -> None:
    both = [signature([A], params=params or None) for params in (stable, canary)]
    found = differences(*both, ("version 1", "version 2"))
    assert len(found) == (line is not None)
    assert line is None or found[0].startswith(line)
    if sent is not None:
        before, after = (ModelSignature.from_dict(s).params for s in both)
        _enforce_params_schema(dict(sent), before)
        if line is None:
            _enforce_params_schema(dict(sent), after)
        else:
            with pytest.raises(Exception, match="Invalid parameters found"):
                _enforce_params_schema(dict(sent), after)


def test_answers_have_to_keep_their_form() -> None:
    def found(stable: Any, canary: Any) -> list[str]:
        return differences(signature([A], stable), signature([A], canary))

    score, label = column("score", "double"), column("label", "string")
    assert found([score, label], [label, score]) == []
    assert found([score], None) == []
    assert found(None, [score]) == []
    assert found([score], [column("score", "double", False)]) == []
    assert found([score], [column("score", "long")]) == [
        "output score: double in stable, long in canary"
    ]
    assert found([score, label], [score]) == ["output label: string in stable, missing in canary"]
    assert found([score], [score, label]) == ["output label: missing in stable, string in canary"]
    assert found([tensor([-1])], [tensor([-1, 2])]) == [
        "output 1: tensor of float64 (-1,) in stable, tensor of float64 (-1, 2) in canary"
    ]


def test_a_signature_that_is_missing_on_one_side_is_a_difference() -> None:
    some = signature([A])
    assert differences(None, None) == []
    assert differences(some, None) == ["signature: stable has one, canary has none"]
    assert differences(None, some) == ["signature: canary has one, stable has none"]
    assert differences(some, signature(None)) == [
        "inputs: 1 declared in stable, none declared in canary"
    ]


@pytest.mark.parametrize("inputs", ["{", '{"a": 1}', "[1]", '[{"type": "array", "name": "a"}]'])
def test_a_signature_that_makes_no_sense_is_one_line(inputs: str) -> None:
    whole = [column("a", {"type": "array", "items": {"type": "long"}})]
    found = differences(signature(whole), {"inputs": inputs})
    assert len(found) == 1
    assert found[0].startswith("signature: makes no sense (")


SCALARS = {
    "boolean": st.booleans(),
    "integer": st.integers(-5, 5),
    "long": st.integers(-(2**40), 2**40),
    "float": st.floats(-9, 9, width=32),
    "double": st.floats(-1e9, 1e9),
    "string": st.text("abc", max_size=3),
}
kinds = st.recursive(
    st.sampled_from([{"type": kind} for kind in [*SCALARS, "any"]]),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        inner.map(lambda values: {"type": "map", "values": values}),
        st.dictionaries(
            st.sampled_from(["x", "y"]),
            st.tuples(inner, st.booleans()).map(lambda pair: pair[0] | {"required": pair[1]}),
            min_size=1,
        ).map(lambda properties: {"type": "object", "properties": properties}),
    ),
    max_leaves=3,
).map(copy.deepcopy)  # or the samples themselves would be changed below
columns = st.dictionaries(st.sampled_from("abc"), st.tuples(kinds, st.booleans()), min_size=1).map(
    lambda found: [column(name, kind, required) for name, (kind, required) in found.items()]
)


def values(spec: dict[str, Any]) -> st.SearchStrategy[Any]:
    match spec["type"]:
        case "any":
            return st.sampled_from([1, "x", None, [1, 2], {"k": 1}])
        case "array":
            return st.lists(values(spec["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.sampled_from("kl"), values(spec["values"]), max_size=2)
        case "object":
            properties = spec["properties"]
            optional = {k: values(v) for k, v in properties.items() if not v["required"]}
            needed = {k: values(v) for k, v in properties.items() if v["required"]}
            return st.fixed_dictionaries(needed, optional=optional)
        case kind:
            return SCALARS[kind]


@st.composite
def changed(draw: st.DrawFn, stable: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A canary's columns, few steps away from stable's."""
    canary = copy.deepcopy(stable)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(canary) - 1))
        match draw(st.sampled_from(["drop", "add", "required", "type", "widen", "property"])):
            case "drop" if len(canary) > 1:
                del canary[at]
            case "add":
                canary.append(column("d", draw(kinds), draw(st.booleans())))
            case "required":
                canary[at]["required"] = not canary[at]["required"]
            case "type":
                name, required = canary[at]["name"], canary[at]["required"]
                canary[at] = column(name, draw(kinds), required)
            case "widen":
                inner = canary[at]
                while "items" in inner or "values" in inner:
                    inner = inner.get("items") or inner["values"]
                if inner["type"] in SCALARS:
                    inner["type"] = draw(st.sampled_from([*SCALARS, "any"]))
            case "property" if canary[at]["type"] == "object":
                new = draw(kinds) | {"required": draw(st.booleans())}
                canary[at]["properties"][draw(st.sampled_from("xyz"))] = new
    return list({spec["name"]: spec for spec in canary}.values())


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_stable_takes_a_compatible_canary_takes(data: st.DataObject) -> None:
    stable = data.draw(columns)
    canary = data.draw(changed(stable))
    assume(lines(stable, canary) == [])
    sent = [spec for spec in stable if spec["required"] or data.draw(st.booleans())]
    assume(sent)
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({spec["name"]: values(spec) for spec in sent}),
            min_size=1,
            max_size=2,
        )
    )
    form = data.draw(st.sampled_from(["dataframe_records", "dataframe_split", "instances", "row"]))
    request: dict[str, Any] = {form: rows}
    if form == "dataframe_split":
        names = [spec["name"] for spec in sent]
        table = [[row[name] for name in names] for row in rows]
        request = {form: {"columns": names, "data": table}}
    elif form == "row":
        request = {"inputs": rows[0]}
    if taken(stable, request):
        assert taken(canary, request)
