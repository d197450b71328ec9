"""The runtime's answers beside those of MLflow's own scoring server, request by request."""

import asyncio
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from slipway_runtime import modelfile
from slipway_runtime.app import ModelServer
from slipway_runtime.errors import RequestError
from slipway_runtime.protocol import MLFLOW_VERSION, Scorer, load_model
from slipway_runtime.settings import ServerSettings

JSON = "application/json"
CSV = "text/csv"
SECRET = "sesame-4711"


class Moody(PythonModel):
    """Doubles ``x``, or does what ``mood`` says; ``factor`` is a param."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        mood = str(model_input["mood"].iloc[0])
        if mood == "raise":
            raise ValueError(f"cannot bear {mood} {SECRET}")
        if mood == "internal":
            raise MlflowException(f"internally {SECRET}")
        if mood == "busy":
            raise MlflowException(f"too much {SECRET}", error_code=29)
        if mood == "object":
            return [object()]
        if mood == "slow":
            time.sleep(0.3)
        if mood == "nan":
            return np.array([np.nan, np.inf])
        if mood == "frame":
            return pd.DataFrame({"y": model_input["x"], "mood": model_input["mood"]})
        return model_input["x"].to_numpy() * params["factor"]


class Plain(PythonModel):
    """Says what it got: its type, its shape and its sum."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        values = np.asarray(model_input, dtype="float64")
        return [type(model_input).__name__, list(values.shape), float(values.sum())]


MOODY = ModelSignature(
    inputs=Schema([ColSpec(DataType.double, "x"), ColSpec(DataType.string, "mood")]),
    params=ParamSchema([ParamSpec("factor", DataType.double, 2.0)]),
)
TENSOR = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 2))]))


class InProcess:
    """Asks a scorer as the model process does, without the process."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    async def score(self, body: bytes, content_type: str | None, request_id: str) -> bytes:
        return await asyncio.to_thread(self.scorer.score, body, content_type)

    async def infer(
        self, body: bytes, header_length: int | None, request_id: str
    ) -> tuple[bytes, int | None]:
        return await asyncio.to_thread(self.scorer.infer, body, header_length)


@dataclass
class Pair:
    """MLflow's scoring server and the runtime, both with the same loaded model."""

    theirs: Any
    ours: Any
    server: ModelServer

    def post(self, body: str | bytes, content_type: str | None = JSON) -> tuple[Any, Any]:
        """Sends the same request to both; returns MLflow's answer and the runtime's."""
        headers = {} if content_type is None else {"content-type": content_type}
        content = body.encode() if isinstance(body, str) else body
        first, second = (
            client.post("/invocations", content=content, headers=headers)
            for client in (self.theirs, self.ours)
        )
        return first, second


def _pair(path: Path, client_of: Callable[[Any], Any]) -> Pair:
    model = load_model(path)
    settings = ServerSettings("churn", "7", path, request_seconds=30)
    scorer = Scorer(model, modelfile.read(path), ("churn", "7"))
    server = ModelServer(settings, InProcess(scorer), MLFLOW_VERSION)
    server.started = True
    return Pair(client_of(scoring_server.init(model)), client_of(server.app), server)


@pytest.fixture(scope="module")
def pairs(
    table_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    client_of: Callable[[Any], Any],
) -> Iterator[dict[str, Pair]]:
    folder = tmp_path_factory.mktemp("models")
    kinds = {"moody": (Moody(), MOODY), "tensor": (Plain(), TENSOR), "plain": (Plain(), None)}
    for name, (model, signature) in kinds.items():
        mlflow.pyfunc.save_model(
            str(folder / name), python_model=model, signature=signature, pip_requirements=["mlflow"]
        )
    found = {name: _pair(folder / name, client_of) for name in kinds} | {
        "table": _pair(table_model, client_of)
    }
    yield found
    for pair in found.values():
        pair.server.close()


ROWS: list[dict[str, Any]] = [
    {"amount": 1.5, "count": 2, "kind": "b"},
    {"amount": -3, "count": 7, "kind": "never seen"},
]
COLUMNS = ["amount", "count", "kind"]
SPLIT = {"columns": COLUMNS, "data": [list(row.values()) for row in ROWS]}
TENSOR_ROWS = [[1, 2], [3, 4.5]]


def moody(mood: str, **more: Any) -> str:
    """Returns a request for the moody model."""
    return json.dumps(
        {"dataframe_records": [{"x": 1.5, "mood": mood}, {"x": 2, "mood": "b"}]} | more
    )


GOOD: dict[str, tuple[str, str, str]] = {
    "split": ("table", JSON, json.dumps({"dataframe_split": SPLIT})),
    "split with index": ("table", JSON, json.dumps({"dataframe_split": SPLIT | {"index": [5, 9]}})),
    "records": ("table", JSON, json.dumps({"dataframe_records": ROWS})),
    "columns in another order": (
        "table",
        JSON,
        json.dumps({"dataframe_records": [dict(reversed(row.items())) for row in ROWS]}),
    ),
    "additional columns": (
        "table",
        JSON,
        json.dumps({"dataframe_records": [row | {SECRET: SECRET} for row in ROWS]}),
    ),
    "instances of records": ("table", JSON, json.dumps({"instances": ROWS})),
    "inputs by column": (
        "table",
        JSON,
        json.dumps({"inputs": {name: [row[name] for row in ROWS] for name in COLUMNS}}),
    ),
    "inputs of records": ("table", JSON, json.dumps({"inputs": ROWS})),
    "charset": ("table", f"{JSON}; charset=UTF-8", json.dumps({"dataframe_split": SPLIT})),
    "csv": ("table", CSV, "amount,count,kind\n1.5,2,b\n-3,7,c\n"),
    "csv quoted": ("table", f"{CSV};charset=utf-8", 'kind,count,amount\n"a, b\nc",1,2\n'),
    "not a number": (
        "table",
        JSON,
        '{"dataframe_records": [{"amount": 1e3, "count": 1, "kind": "\\u00e4"}]}',
    ),
    "fractions cut": (
        "table",
        JSON,
        json.dumps({"inputs": {"amount": [1.0], "count": [1.5], "kind": [SECRET]}}),
    ),
    "unknown keys": ("table", JSON, json.dumps({"dataframe_split": SPLIT, "other": SECRET})),
    "params by default": ("moody", JSON, moody("a")),
    "params": ("moody", JSON, moody("a", params={"factor": 10})),
    "params nobody knows": ("moody", JSON, moody("a", params={SECRET: 1})),
    "params null": ("moody", JSON, moody("a", params=None)),
    "params without schema": (
        "table",
        JSON,
        json.dumps({"dataframe_split": SPLIT, "params": {"factor": 1}}),
    ),
    "a frame answered": ("moody", JSON, moody("frame")),
    "NaN answered": ("moody", JSON, moody("nan")),
    "tensor instances": ("tensor", JSON, json.dumps({"instances": TENSOR_ROWS})),
    "tensor inputs": ("tensor", JSON, json.dumps({"inputs": TENSOR_ROWS})),
    "tensor as split": ("tensor", JSON, json.dumps({"dataframe_split": {"data": TENSOR_ROWS}})),
    "no signature, split": ("plain", JSON, json.dumps({"dataframe_split": {"data": TENSOR_ROWS}})),
    "no signature, inputs": ("plain", JSON, json.dumps({"inputs": TENSOR_ROWS})),
    "no signature, instances": ("plain", JSON, json.dumps({"instances": TENSOR_ROWS})),
    "no signature, csv": ("plain", CSV, "a,b\n1,2\n3,4\n"),
}

BAD: dict[str, tuple[str, str, str | bytes]] = {
    "no JSON": ("table", JSON, '{"dataframe_split": ' + SECRET),
    "empty": ("table", JSON, ""),
    "not UTF-8": ("table", JSON, b'{"inputs": "\xff\xfe' + SECRET.encode() + b'"}'),
    "a list": ("table", JSON, json.dumps([SECRET])),
    "a string": ("table", JSON, json.dumps(SECRET)),
    "no format": ("table", JSON, json.dumps({SECRET: 1})),
    "two formats": ("table", JSON, json.dumps({"dataframe_split": SPLIT, "inputs": [SECRET]})),
    "split is a list": ("table", JSON, json.dumps({"dataframe_split": [SECRET]})),
    "split without data": ("table", JSON, json.dumps({"dataframe_split": {"columns": [SECRET]}})),
    "split with more": ("table", JSON, json.dumps({"dataframe_split": SPLIT | {SECRET: 1}})),
    "split of ragged rows": (
        "table",
        JSON,
        json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, SECRET], [1]]}}),
    ),
    "records is a dict": ("table", JSON, json.dumps({"dataframe_records": {SECRET: 1}})),
    "missing column": ("table", JSON, json.dumps({"dataframe_records": [{"amount": SECRET}]})),
    "missing columns": ("table", JSON, json.dumps({"dataframe_records": [{"amount": 1}]})),
    "wrong type": (
        "table",
        JSON,
        json.dumps({"dataframe_records": [{"amount": 1, "count": SECRET, "kind": "a"}]}),
    ),
    "another type": (
        "table",
        JSON,
        json.dumps({"dataframe_records": [{"amount": 1, "count": 2, "kind": [SECRET]}]}),
    ),
    "instances ragged": (
        "table",
        JSON,
        json.dumps({"instances": [ROWS[0], {"amount": 3, "kind": SECRET}]}),
    ),
    "nothing": ("table", JSON, json.dumps({"dataframe_records": []})),
    "null": ("table", JSON, json.dumps({"dataframe_split": None})),
    "csv with missing columns": ("table", CSV, f"amount,{SECRET}\n1,{SECRET}\n"),
    "csv of the wrong type": ("table", CSV, f"amount,count,kind\n1,{SECRET},b\n"),
    "csv empty": ("table", CSV, ""),
    "csv not UTF-8": ("table", CSV, b"amount,count,kind\n1,2,\xff\n"),
    "parquet that is none": ("table", "application/vnd.apache.parquet", SECRET),
    "content type": ("table", f"text/{SECRET}", json.dumps({"dataframe_split": SPLIT})),
    "charset": ("table", f"{JSON}; charset={SECRET}", json.dumps({"dataframe_split": SPLIT})),
    "parameter": ("table", f"{JSON}; {SECRET}=1", json.dumps({"dataframe_split": SPLIT})),
    "params of the wrong type": ("moody", JSON, moody("a", params={"factor": SECRET})),
    "params are a list": ("moody", JSON, moody("a", params=[SECRET])),
    "the model raises MLflow's": ("moody", JSON, moody("internal")),
    "the model is busy": ("moody", JSON, moody("busy")),
    "the answer is no JSON": ("moody", JSON, moody("object")),
    "tensor of another shape": ("tensor", JSON, json.dumps({"inputs": [[1, 2, 3]]})),
    "tensor of strings": ("tensor", JSON, json.dumps({"inputs": [[SECRET, SECRET]]})),
    "tensor for names": ("table", JSON, json.dumps({"inputs": [[1, 2]]})),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_prediction_is_mlflows_byte_for_byte(pairs: dict[str, Pair], case: str) -> None:
    name, content_type, body = GOOD[case]
    theirs, ours = pairs[name].post(body, content_type)
    assert theirs.status_code == 200, theirs.text
    assert ours.status_code == 200, ours.text
    assert ours.content == theirs.content
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert (ours.headers["x-model-name"], ours.headers["x-model-version"]) == ("churn", "7")


@pytest.mark.parametrize("case", BAD)
def test_an_error_has_mlflows_status_and_nothing_of_the_request(
    pairs: dict[str, Pair], case: str
) -> None:
    name, content_type, body = BAD[case]
    theirs, ours = pairs[name].post(body, content_type)
    assert ours.status_code == theirs.status_code, (theirs.text, ours.text)
    assert ours.status_code >= 400
    answer = ours.json()
    more = {"request_id"} if ours.status_code >= 500 else set()
    assert set(answer) == {"error_code", "message"} | more
    if theirs.headers["content-type"] == JSON:
        assert answer["error_code"] == theirs.json()["error_code"]
    assert "\n" not in answer["message"]
    for leak in (SECRET, "Traceback", 'File "', "site-packages"):
        assert leak not in ours.text
    assert (ours.headers["x-model-name"], ours.headers["x-model-version"]) == ("churn", "7")


def test_parquet(pairs: dict[str, Pair]) -> None:
    body = io.BytesIO()
    pd.DataFrame(ROWS).astype({"amount": "float64"}).to_parquet(body)
    theirs, ours = pairs["table"].post(body.getvalue(), "application/vnd.apache.parquet")
    assert theirs.status_code == ours.status_code == 200, (theirs.text, ours.text)
    assert ours.content == theirs.content


def test_a_parquet_file_that_unpacks_to_too_much_is_413(pairs: dict[str, Pair]) -> None:
    body = io.BytesIO()
    pd.DataFrame({"amount": np.zeros(2_000_001)}).to_parquet(body)
    # Two million values in a few kilobytes.
    assert len(body.getvalue()) < 50_000
    server = pairs["table"].server
    assert isinstance(server.backend, InProcess)
    with pytest.raises(RequestError) as caught:
        server.backend.scorer.score(body.getvalue(), "application/vnd.apache.parquet")
    assert caught.value.status == 413


def test_a_column_of_another_type_is_answered_with_the_signature(pairs: dict[str, Pair]) -> None:
    body = io.BytesIO()
    pd.DataFrame({"amount": [1.0], "count": [1.5], "kind": ["a"]}).to_parquet(body)
    theirs, ours = pairs["table"].post(body.getvalue(), "application/vnd.apache.parquet")
    assert theirs.status_code == ours.status_code == 400
    assert "amount double, count long, kind string" in ours.json()["message"]


@pytest.mark.parametrize(
    "body",
    ['{"inputs": ' + "9" * 5000 + "}", '{"inputs": ' + "[" * 100_000 + "]" * 100_000 + "}"],
    ids=["a number of 5,000 digits", "nested too deep"],
)
def test_what_mlflow_does_not_foresee_is_the_clients_error(
    pairs: dict[str, Pair], body: str
) -> None:
    theirs, ours = pairs["table"].post(body)
    assert theirs.status_code == 500
    assert ours.status_code == 400
    assert ours.json()["error_code"] == "BAD_REQUEST"


def test_the_models_own_failure_is_500_with_an_id(pairs: dict[str, Pair]) -> None:
    theirs, ours = pairs["moody"].post(moody("raise"))
    assert theirs.status_code == 400
    assert ours.status_code == 500
    answer = ours.json()
    assert answer["error_code"] == "INTERNAL_ERROR"
    assert answer["request_id"] == ours.headers["x-request-id"]
    assert SECRET not in ours.text


def test_no_content_type_is_415(pairs: dict[str, Pair]) -> None:
    theirs, ours = pairs["table"].post("{}", None)
    assert theirs.status_code == 500
    assert ours.status_code == 415


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ('{"dataframe_records": [{"amount": 1}]}', "missing count, kind"),
        (json.dumps({"dataframe_split": SPLIT, "inputs": 1}), "it has dataframe_split, inputs"),
        ('{"dataframe_records": [{"count": "x"}]}', "column count is not long"),
        ('{"dataframe_records": [', "line 1, column 24"),
    ],
)
def test_messages_say_what_to_mend(pairs: dict[str, Pair], body: str, part: str) -> None:
    _, ours = pairs["table"].post(body)
    assert part in ours.json()["message"]


def test_version_and_ping_are_mlflows(pairs: dict[str, Pair]) -> None:
    pair = pairs["table"]
    for path in ("/ping", "/health", "/version"):
        theirs, ours = pair.theirs.get(path), pair.ours.get(path)
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        assert ours.headers["content-type"] == theirs.headers["content-type"]


def test_warm_up_answers_the_models_own_example(table_model: Path) -> None:
    scorer = Scorer(load_model(table_model), modelfile.read(table_model), ("churn", "7"))
    assert scorer.warm_up(table_model)


def test_warm_up_without_an_example(pairs: dict[str, Pair], tmp_path: Path) -> None:
    backend = pairs["plain"].server.backend
    assert isinstance(backend, InProcess)
    assert not backend.scorer.warm_up(tmp_path)
