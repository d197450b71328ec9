"""Models of other libraries, each saved, served and asked for real: MLflow's own answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from .serving import serving

RANDOM = np.random.default_rng(0)
NAMES = ["a", "b", "c"]
TABLE = pd.DataFrame(RANDOM.normal(size=(200, 3)), columns=NAMES)
TARGET = (TABLE["a"] * TABLE["b"] > 0).astype(int)


def _skops(path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(20, random_state=0).fit(TABLE, TARGET)
    trusted = {"skops_trusted_types": ["sklearn.tree._tree.Tree"]}
    options = {"serialization_format": "skops"} | trusted
    _save(mlflow.sklearn, model, model.predict(TABLE), path, **options)


def _probabilities(path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(TABLE, TARGET)
    options = {"serialization_format": "skops", "pyfunc_predict_fn": "predict_proba"}
    _save(mlflow.sklearn, model, model.predict_proba(TABLE), path, **options)


def _xgboost(path: Path) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=10).fit(TABLE, TARGET)
    _save(mlflow.xgboost, model, model.predict(TABLE), path)


def _booster(path: Path) -> None:
    import xgboost

    data = xgboost.DMatrix(TABLE, TARGET)
    model = xgboost.train({"objective": "binary:logistic"}, data, 10)
    _save(mlflow.xgboost, model, model.predict(data), path)


def _lightgbm(path: Path) -> None:
    import lightgbm

    data = lightgbm.Dataset(TABLE, TARGET)
    model = lightgbm.train({"objective": "binary", "verbose": -1}, data, 10)
    _save(mlflow.lightgbm, model, model.predict(TABLE), path)


def _onnx(path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(RANDOM.normal(size=(3, 2)).astype(np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [weights],
    )
    opset = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    sample = TABLE.to_numpy(dtype=np.float32)[:2]
    signature = mlflow.models.infer_signature(sample, {"y": sample[:, :2]})
    mlflow.onnx.save_model(
        model, str(path), signature=signature, input_example=sample, pip_requirements=["onnx"]
    )


def _save(flavor: Any, model: Any, prediction: Any, path: Path, **options: Any) -> None:
    flavor.save_model(
        model,
        str(path),
        signature=mlflow.models.infer_signature(TABLE, prediction),
        input_example=TABLE.head(2),
        pip_requirements=["mlflow"],
        **options,
    )


@pytest.mark.parametrize(
    ("save", "engine"),
    [
        (_skops, "trees"),
        (_probabilities, "linear"),
        (_xgboost, None),
        (_booster, None),
        (_lightgbm, None),
        (_onnx, None),
    ],
)
def test_a_flavor(save: Callable[[Path], None], engine: str | None, tmp_path: Path) -> None:
    import io

    from mlflow.pyfunc import scoring_server

    from slipway_runtime.protocol import load_model

    model = tmp_path / "churn"
    save(model)
    rows = RANDOM.normal(size=(5, 3)).tolist()
    tensor = save is _onnx
    request = {"inputs": rows} if tensor else {"dataframe_split": {"columns": NAMES, "data": rows}}
    loaded = load_model(model)
    data = scoring_server._parse_json_data(
        json.dumps(request), loaded.metadata, loaded.metadata.get_input_schema()
    ).data
    expected = io.StringIO()
    scoring_server.predictions_to_json(loaded.predict(data), expected)
    columns = [
        {"name": name, "shape": [5], "datatype": "FP64", "data": [row[at] for row in rows]}
        for at, name in enumerate(NAMES)
    ]
    flat = [value for row in rows for value in row]
    array = [{"name": "x", "shape": [5, 3], "datatype": "FP32", "data": flat}]
    inference = {"inputs": array if tensor else columns}
    # None of them needs ALLOW_PICKLE.
    with serving(model, tmp_path / "log", ALLOW_PICKLE="false") as server:
        server.wait_for_event("ready")
        server.wait_until("/health/ready", 200)
        if engine:
            server.wait_for_event("the compiled model answers as MLflow does")
        for _ in range(2):
            status, _, content = server.invoke(request)
            assert (status, content.decode()) == (200, expected.getvalue())
        body = json.dumps(inference).encode()
        status, _, content = server.ask("POST", "/v2/models/churn/infer", body)
        assert status == 200, content
        labels = 'model_name="churn",model_version="7"'
        samples = server.samples()
        assert samples[f"model_compiled_predictions_total{{{labels}}}"] == (3 if engine else 0)
        for name in ("linear", "trees"):
            sample = f'model_compiled{{engine="{name}",{labels}}}'
            assert samples[sample] == (name == engine)
