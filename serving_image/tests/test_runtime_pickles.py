"""Which of the models that MLflow saves count as pickled, and how the fetch refuses them."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from slipway_runtime import fetch as command
from slipway_runtime.pickles import PickledModelError, check, pickled_files
from slipway_runtime.tracking import TrackingServer

X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
Y = [0, 0, 1, 1]
REQUIREMENTS = {"pip_requirements": ["mlflow"]}
FROM_CODE = """
import mlflow
class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2
mlflow.models.set_model(Twice())
"""


def paths(folder: Path) -> list[str]:
    """Returns the paths that count as pickles."""
    return [file.path for file in pickled_files(folder)]


class Twice(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Doubles what it is given."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input * 2


def onnx_model() -> Any:
    """Returns an ONNX graph that passes its input on."""
    from onnx import TensorProto, helper

    shape = [None, 2]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def save_sklearn(path: str, **options: Any) -> None:
    mlflow.sklearn.save_model(LogisticRegression().fit(X, Y), path, **options, **REQUIREMENTS)


def save_lightgbm(path: str, booster: bool, **options: Any) -> None:
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=1, verbose=-1).fit(X, Y)
    it = model.booster_ if booster else model
    mlflow.lightgbm.save_model(it, path, **options, **REQUIREMENTS)


def save_xgboost(path: str, booster: bool) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=2).fit(X, Y)
    it = model.get_booster() if booster else model
    mlflow.xgboost.save_model(it, path, **REQUIREMENTS)


def save_python(path: str, folder: Path, code: bool, artifact: bytes | None = None) -> None:
    options: dict[str, Any] = {"python_model": Twice()}
    if code:
        (folder / "twice.py").write_text(FROM_CODE)
        options["python_model"] = str(folder / "twice.py")
    if artifact is not None:
        (folder / "artifact").write_bytes(artifact)
        options["artifacts"] = {"it": str(folder / "artifact")}
    mlflow.pyfunc.save_model(path, **options, **REQUIREMENTS)


SAVED: dict[str, tuple[Callable[[str, Path], None], list[str]]] = {
    "sklearn": (lambda p, _: save_sklearn(p), []),
    "sklearn skops": (lambda p, _: save_sklearn(p, serialization_format="skops"), []),
    "sklearn pickle": (lambda p, _: save_sklearn(p, serialization_format="pickle"), ["model.pkl"]),
    "sklearn cloudpickle": (
        lambda p, _: save_sklearn(p, serialization_format="cloudpickle"),
        ["model.pkl"],
    ),
    "lightgbm booster": (lambda p, _: save_lightgbm(p, True), []),
    "lightgbm class": (lambda p, _: save_lightgbm(p, False), []),
    "lightgbm class cloudpickle": (
        lambda p, _: save_lightgbm(p, False, serialization_format="cloudpickle"),
        ["model.pkl"],
    ),
    "xgboost booster": (lambda p, _: save_xgboost(p, True), []),
    "xgboost class": (lambda p, _: save_xgboost(p, False), []),
    "onnx": (lambda p, _: mlflow.onnx.save_model(onnx_model(), p, **REQUIREMENTS), []),
    "python model": (lambda p, t: save_python(p, t, code=False), ["python_model.pkl"]),
    "from code": (lambda p, t: save_python(p, t, code=True), []),
    "from code, with numbers": (lambda p, t: save_python(p, t, True, b"1,2,3\n"), []),
    "from code, with a pickle": (
        lambda p, t: save_python(p, t, True, pickle.dumps({"a": 1})),
        ["artifacts/artifact"],
    ),
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models of `SAVED` in folders of their own."""
    folders = {}
    for name, (save, _) in SAVED.items():
        folder = tmp_path_factory.mktemp("saved")
        folders[name] = folder / "model"
        save(str(folders[name]), folder)
    return folders


@pytest.mark.parametrize("name", SAVED)
def test_what_mlflow_saves(name: str, saved: dict[str, Path]) -> None:
    assert paths(saved[name]) == SAVED[name][1]


LOADS = """
import sys, cloudpickle, mlflow.pyfunc, pandas as pd, pickle
for name in ("sklearn", "lightgbm", "xgboost", "onnx", "pyfunc.model"):
    __import__("mlflow." + name)
def refuse(*_, **__):
    raise RuntimeError("it was unpickled")
for module in (pickle, cloudpickle):
    module.load = module.loads = module.Unpickler = refuse
x = pd.DataFrame({"a": [0.0, 3.0], "b": [1.0, 0.0]})
for path in sys.argv[1:]:
    try:
        model = mlflow.pyfunc.load_model(path)
        model.predict(x.astype("float32") if "onnx" in model.metadata.flavors else x)
        print("loaded")
    except RuntimeError as error:
        print(error)
"""


def test_what_is_taken_is_loaded_without_unpickling(saved: dict[str, Path]) -> None:
    """In a process whose ``pickle`` loads nothing: the proof of the rules above."""
    # Opened by the model's own code, where it opens it at all.
    unread = "from code, with a pickle"
    wanted = {name: folder for name, folder in saved.items() if name != unread}
    line = [sys.executable, "-W", "ignore", "-c", LOADS, *map(str, wanted.values())]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()
    expected = {name: "it was unpickled" if SAVED[name][1] else "loaded" for name in wanted}
    assert dict(zip(wanted, said, strict=True)) == expected


def test_the_message_says_what_to_do(tmp_path: Path) -> None:
    save_sklearn(str(tmp_path / "churn"), serialization_format="cloudpickle")
    with pytest.raises(PickledModelError) as caught:
        check(tmp_path / "churn", allow_pickle=False)
    assert str(caught.value) == (
        "model.pkl is a pickle, saved as cloudpickle: loading it would run whatever code is in it; "
        "save it as skops (mlflow.sklearn.save_model(..., serialization_format='skops', "
        "skops_trusted_types=[...])) or as ONNX (mlflow.onnx.save_model), or trust its source: "
        "slipway:models.churn.allow_pickle: true (of a server started by hand, ALLOW_PICKLE=true)"
    )
    check(tmp_path / "churn", allow_pickle=True)


@pytest.fixture(scope="session")
def pickled(tracking: Any) -> str:
    """The name of a registered model that is a pickle."""
    mlflow.set_tracking_uri(tracking.uri)
    model = LogisticRegression().fit(X, Y)
    logged = mlflow.sklearn.log_model(
        model, name="model", serialization_format="pickle", **REQUIREMENTS
    )
    mlflow.register_model(logged.model_uri, "pickled")
    return "pickled"


def test_the_fetch_refuses_before_it_serves(
    pickled: str,
    tracking: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    message = tmp_path / "termination"
    message.touch()
    monkeypatch.setenv("TERMINATION_LOG", str(message))
    out = tmp_path / "models" / "m"
    line = ["--model", pickled, "--version", "1", "--out", str(out)]
    assert command.main(line) == 1
    said = capsys.readouterr().err
    assert said.startswith("fetch: cannot fetch pickled 1: model.pkl is a pickle, saved as pickle")
    assert "slipway:models.pickled.allow_pickle: true" in said
    assert said == f"fetch: {message.read_text()}\n"
    assert not out.exists()
    # Nothing but its MLmodel was fetched to find that out.
    files = out.with_name(".m.partial") / "files"
    assert [path.name for path in files.iterdir()] == ["MLmodel"]
    assert command.main([*line, "--allow-pickle"]) == 0
    assert (out / "model.pkl").exists()
    # What lies there whole is refused all the same once pickles are no longer allowed.
    assert command.main(line) == 1
    assert "model.pkl is a pickle" in capsys.readouterr().err


def test_a_pickle_that_only_its_bytes_show(tracking: Any, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(tracking.uri)
    (tmp_path / "twice.py").write_text(FROM_CODE)
    (tmp_path / "table").write_bytes(pickle.dumps([1]))
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(tmp_path / "twice.py"),
        artifacts={"table": str(tmp_path / "table")},
        **REQUIREMENTS,
    )
    mlflow.register_model(logged.model_uri, "hidden")
    with pytest.raises(PickledModelError, match="artifacts/table is a pickle, by its first bytes"):
        command.fetch(TrackingServer(tracking.uri), "hidden", 1, tmp_path / "m")
    assert not (tmp_path / "m").exists()
