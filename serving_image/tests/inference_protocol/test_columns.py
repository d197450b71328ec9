"""Models with a signature of columns: they get what they would get from MLflow's own server."""

import math
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import tritonclient.http as stock
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from slipway_runtime import v2
from slipway_runtime.errors import RequestError
from slipway_runtime.protocol import load_model

from .requests import SECRET, request_of, sent, stock_request
from .witness import by_mlflow, by_protocol

DATES = ["2024-02-29T12:00:00.000001", "1999-12-31"]


CELLS: dict[str, tuple[str, list[Any], list[Any]]] = {
    # the column: its datatype, its data in the protocol, its cells in dataframe_split
    "boolean": ("BOOL", [True, False], [True, False]),
    "integer": ("INT32", [1, -2], [1, -2]),
    "long": ("INT64", [2**62, -2], [2**62, -2]),
    "float": ("FP32", [0.1, 2], [0.1, 2]),
    "double": ("FP64", [0.1, None], [0.1, None]),
    "string": ("BYTES", ["ä", ""], ["ä", ""]),
    "binary": ("BYTES", ["/wA=", "YWI="], ["/wA=", "YWI="]),
    "datetime": ("BYTES", DATES[:1] * 2, DATES[:1] * 2),
    "list": ("BYTES", ["[1.5, 2]", "[]"], [[1.5, 2], []]),
    "object": ("BYTES", ['{"a": 1}', '{"a": 2}'], [{"a": 1}, {"a": 2}]),
    "map": ("BYTES", ['{"k": "v"}', "{}"], [{"k": "v"}, {}]),
    "any": ("BYTES", ['"text"', "[1, {}]"], ["text", [1, {}]]),
    "maybe": ("FP64", [1, 2], [1, 2]),
}


def _wide(changes: dict[str, tuple[str, list[Any], list[Any]] | None]) -> Any:
    cells = {name: cell for name, cell in (CELLS | changes).items() if cell is not None}
    rows = len(cells["double"][1])
    inputs = [sent(kind, [rows], data, name) for name, (kind, data, _) in cells.items()]
    split = {
        "columns": list(cells),
        "data": [list(row) for row in zip(*(cell[2] for cell in cells.values()), strict=True)],
    }
    return request_of(*reversed(inputs)), {"dataframe_split": split}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"maybe": None, "any": None},
        {"string": ("BYTES", ["a", None], ["a", None])},
        {"string": ("BYTES", [None, None], [None, None])},
        {"maybe": ("FP64", [None, None], [None, None])},
        {"maybe": ("INT8", [1, -2], [1, -2])},
        {"double": ("FP32", [0.5, 0.25], [0.5, 0.25])},
        {"double": ("INT64", [2**53, -5], [2**53, -5])},
        {"double": ("UINT64", [0, 5], [0, 5])},
        {"float": ("INT32", [1, 2**24], [1, 2**24])},
        {"long": ("INT32", [1, 2], [1, 2])},
        {"long": ("UINT64", [1, 2], [1, 2])},
        {"integer": ("INT64", [1, 2], [1, 2])},
        {"unknown": ("BYTES", ["a", "b"], ["a", "b"])},
        {"datetime": ("BYTES", [DATES[0], None], [DATES[0], None])},
    ],
)
def test_columns_reach_the_model_as_from_mlflow(
    witnesses: dict[str, PyFuncModel], changes: dict[str, Any]
) -> None:
    request, body = _wide(changes)
    found = by_protocol(witnesses["wide"], request)
    assert found == by_mlflow(witnesses["wide"], body)
    assert len(found) >= len(CELLS) - 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"double": ("INT64", [2**53 + 1, 1], [])}, None),
        ({"float": ("FP64", [0.1, 1], [])}, None),
        ({"long": ("FP64", [1, 2], [])}, None),
        ({"integer": ("INT64", [2**31, 1], [])}, None),
        ({"boolean": ("INT64", [0, 1], [])}, None),
        ({"long": ("BOOL", [True, False], [])}, None),
        ({"string": ("FP64", [1, 2], [])}, None),
        ({"datetime": ("INT64", [1, 2], [])}, None),
        ({"datetime": ("BYTES", ["2024-01-01T00:00:00Z"] * 2, [])}, None),
        ({"object": ("BYTES", ['{"b": 1}'] * 2, [])}, None),
        ({"double": None, "maybe": ("FP64", [1], []), "string": ("BYTES", ["a"], [])}, "rows"),
        ({"double": ("BYTES", ["1", "2"], [])}, "input double must not be BYTES"),
        ({"datetime": ("BYTES", [SECRET] * 2, [])}, "input datetime has an element"),
        ({"datetime": ("BYTES", DATES, [])}, "input datetime has an element"),
        ({"binary": ("BYTES", ["abc", "abc"], [])}, "input binary has an element"),
        ({"binary": ("BYTES", ["YWI=", None], [])}, "input binary has an element"),
        ({"list": ("BYTES", [SECRET, "[]"], [])}, "An element of input list is not valid JSON"),
        ({"list": ("BYTES", ['["\\ud800"]', "[]"], [])}, "An element of input list is not valid"),
    ],
)
def test_what_would_lose_something_is_refused(
    witnesses: dict[str, PyFuncModel], changes: dict[str, Any], message: str | None
) -> None:
    cells = {name: cell for name, cell in (CELLS | changes).items() if cell is not None}
    request = request_of(
        *(sent(kind, [len(data)], data, name) for name, (kind, data, _) in cells.items())
    )
    if message is None:
        # For MLflow to refuse.
        with pytest.raises(mlflow.MlflowException) as caught:
            by_protocol(witnesses["wide"], request)
        assert caught.value.error_class == "SCHEMA_ENFORCEMENT_FAILED"
    else:
        with pytest.raises(RequestError, match=message) as refused:
            by_protocol(witnesses["wide"], request)
        assert SECRET not in refused.value.message


def test_binary_columns_sent_as_binary_data_are_the_bytes_themselves() -> None:
    specs = [{"type": "binary", "name": "x", "required": True}]
    request = stock_request({"x": np.array([b"YWI=", b"\xff\x00"], object)}, binary=True)
    assert v2.model_input(request, specs)["x"].tolist() == [b"YWI=", b"\xff\x00"]
    specs[0]["type"] = "string"
    with pytest.raises(RequestError, match="input x has an element that is not UTF-8"):
        v2.model_input(request, specs)


def test_one_tensor_may_hold_all_columns(witnesses: dict[str, PyFuncModel]) -> None:
    names = ["b", "a", "c"]
    specs = [{"type": "double", "name": name, "required": True} for name in names]
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    frame = v2.model_input(request_of(sent("FP64", [2, 3], rows)), specs)
    pd.testing.assert_frame_equal(frame, pd.DataFrame(rows, columns=names))
    with pytest.raises(RequestError, match="must have 3 columns"):
        v2.model_input(request_of(sent("FP64", [3, 2], rows[0] + rows[1])), specs)
    # Named as a column, it is that column.
    with pytest.raises(RequestError, match=r"input a must have the shape \[rows\]"):
        v2.model_input(request_of(sent("FP64", [2, 3], rows, "a")), specs)
    # An unnamed signature goes by position, whichever way.
    expected = by_mlflow(witnesses["unnamed"], {"dataframe_split": {"data": [[1.5, 2], [2.5, 3]]}})
    first, second = sent("FP64", [2], [1.5, 2.5], "p"), sent("INT64", [2, 1], [2, 3], "q")
    assert by_protocol(witnesses["unnamed"], request_of(first, second)) == expected
    named = [second | {"name": "input-1"}, first | {"name": "input-0"}]
    assert by_protocol(witnesses["unnamed"], request_of(*named)) == expected


@pytest.mark.parametrize(
    ("kind", "datatype", "type_of_rows"),
    [
        (DataType.double, "FP64", list),
        (DataType.double, "FP32", list),
        (DataType.long, "INT64", list),
        (DataType.boolean, "BOOL", list),
        (DataType.float, "FP32", np.ndarray),
        (DataType.integer, "INT32", np.ndarray),
    ],
)
def test_arrays_of_numbers_may_be_rows_of_a_tensor(
    kind: DataType, datatype: str, type_of_rows: type
) -> None:
    schema = Schema([ColSpec(Array(kind), "x")])
    rows = [[1, 0, 1], [0, 1, 0]] if datatype != "BOOL" else [[True, False], [False, True]]
    request = request_of(sent(datatype, [2, len(rows[0])], rows))
    frame = mlflow.models.utils._enforce_schema(v2.model_input(request, schema.to_dict()), schema)
    assert [list(row) for row in frame["x"]] == rows
    assert {type(row) for row in frame["x"]} == {type_of_rows}


def test_a_trained_model_answers_as_by_mlflow(table_model: Path) -> None:
    model = load_model(table_model)
    rows = [[1.5, 2, "b"], [-3.0, 7, "never seen"], [math.nan, 0, "a"]]
    split = {"columns": ["amount", "count", "kind"], "data": rows[:2]}
    expected = by_mlflow(model, {"dataframe_split": split})
    values = {
        "count": np.array([2, 7]),
        "kind": np.array(["b", "never seen"], object),
        "amount": np.array([1.5, -3.0]),
    }
    for binary in (False, True):
        wanted = [stock.InferRequestedOutput("predict", binary_data=binary)]
        request = stock_request(values, binary, wanted)
        prediction = by_protocol(model, request)
        np.testing.assert_array_equal(prediction, expected)
        body, length = v2.encode(v2.outputs_of(prediction), request, "table", "1")
        result = stock.InferenceServerClient.parse_response_body(body, header_length=length)
        np.testing.assert_array_equal(result.as_numpy("predict"), expected)
