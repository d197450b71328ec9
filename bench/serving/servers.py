"""The servers that are compared: how each is started, asked, and its answer read.

All get the same model, one worker and no access log; what else they do is their own default.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.serving.environments import BENTOML, MLSERVER, RUNTIME, Environment
from local.instance import PROJECT

_HERE: Final = Path(__file__).resolve().parent
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Peer:
    """One server.

    Attributes:
        key: its name on the command line and in the JSON.
        title: its name in tables.
        package: the package whose version is shown.
        form: what `train.py` saves for it, `mlflow` or `joblib`.
        path: where predictions are asked for.
        ready: the path that answers 200 once it can be asked.
        command: model's folder, folder to write into, ports (three) → command line and environment.
        body: rows → the request's JSON.
        read: the answer's JSON → predictions, one for each row.
        everywhere: whether it takes part in the cases that are not main ones.
    """

    key: str
    title: str
    package: str
    environment: Environment
    form: str
    path: str
    ready: str
    command: Callable[[Path, Path, list[int]], tuple[list[str], dict[str, str]]]
    body: Callable[[Rows], dict[str, Any]]
    read: Callable[[Any], list[Any]]
    everywhere: bool = False


def environment_of(peer: Peer, folder: Path, own: dict[str, str]) -> dict[str, str]:
    """The variables a server is started with: few, the same for all, and its `own`."""
    return {
        "PATH": f"{peer.environment.directory}/bin:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        # One worker is to use one core: pools of threads would only get in each other's way.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
        "GIT_PYTHON_REFRESH": "quiet",
        **own,
    }


def _limit(_: Path, __: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    options = ["--http", "httptools", "--loop", "uvloop", "--ws", "none", "--lifespan", "off"]
    return [
        *(str(RUNTIME.python), "-m", "uvicorn", "--app-dir", str(_HERE), "limit_app:app"),
        *("--host", "127.0.0.1", "--port", str(ports[0]), "--no-access-log", *options),
    ], {}


def _slipway(model: Path, _: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    return [str(RUNTIME.python), "-m", "slipway_runtime.server"], {
        "PYTHONPATH": str(PROJECT / "serving_image"),
        "MODEL_NAME": "bench",
        "MODEL_VERSION": "1",
        "MODEL_PATH": str(model / "model"),
        "HOST": "127.0.0.1",
        "PORT": str(ports[0]),
        "WORKERS": "1",
        "ALLOW_PICKLE": "true",
        "DRAIN_SECONDS": "0",
    }


def _mlflow(model: Path, _: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    return [
        *(str(RUNTIME.directory / "bin/mlflow"), "models", "serve", "-m", str(model / "model")),
        *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(ports[0]), "-w", "1"),
    ], {"UVICORN_ACCESS_LOG": "false"}


def _mlserver(model: Path, folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {
        "host": "127.0.0.1",
        **dict(zip(names, ports, strict=True)),
        "debug": False,
        # Predictions in the process itself: its default, a second process for them, does not start
        # with its environment's uvloop, which makes no event loop unasked.
        "parallel_workers": 0,
    }
    shutil.copy(model / "model.joblib", folder)
    (folder / "settings.json").write_text(json.dumps(settings))
    model_settings = {
        "name": "bench",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(model_settings))
    return [str(MLSERVER.directory / "bin/mlserver"), "start", str(folder)], {}


def _bentoml(model: Path, folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    return [
        *(str(BENTOML.directory / "bin/bentoml"), "serve", "bento_service:Model"),
        *("--working-dir", str(_HERE), "--host", "127.0.0.1", "--port", str(ports[0])),
    ], {"BENTOML_HOME": str(folder / "bentoml"), "BENCH_MODEL": str(model / "model.joblib")}


def _split(rows: Rows) -> dict[str, Any]:
    columns = [f"c{i}" for i in range(len(rows[0]))]
    return {"dataframe_split": {"columns": columns, "data": [list(row) for row in rows]}}


def _tensor(rows: Rows) -> dict[str, Any]:
    flat = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP64", "data": flat}]}


def _predictions(answer: Any) -> list[Any]:
    return list(answer["predictions"])


LIMIT: Final = Peer(
    key="limit",
    title="the limit",
    package="uvicorn",
    environment=RUNTIME,
    form="mlflow",
    path="/invocations",
    ready="/",
    command=_limit,
    body=_split,
    read=_predictions,
    everywhere=True,
)
SLIPWAY: Final = Peer(
    key="slipway",
    title="Slipway",
    package="",
    environment=RUNTIME,
    form="mlflow",
    path="/invocations",
    ready="/health/ready",
    command=_slipway,
    body=_split,
    read=_predictions,
    everywhere=True,
)
MLFLOW: Final = Peer(
    key="mlflow",
    title="MLflow",
    package="mlflow",
    environment=RUNTIME,
    form="mlflow",
    path="/invocations",
    ready="/ping",
    command=_mlflow,
    body=_split,
    read=_predictions,
    everywhere=True,
)
MLSERVER_PEER: Final = Peer(
    key="mlserver",
    title="MLServer",
    package="mlserver",
    environment=MLSERVER,
    form="joblib",
    path="/v2/models/bench/infer",
    ready="/v2/models/bench/ready",
    command=_mlserver,
    body=_tensor,
    read=lambda answer: list(answer["outputs"][0]["data"]),
)
BENTOML_PEER: Final = Peer(
    key="bentoml",
    title="BentoML",
    package="bentoml",
    environment=BENTOML,
    form="joblib",
    path="/predict",
    ready="/readyz",
    command=_bentoml,
    body=lambda rows: {"rows": [list(row) for row in rows]},
    read=lambda answer: list(answer),
)
PEERS: Final = (LIMIT, SLIPWAY, MLFLOW, MLSERVER_PEER, BENTOML_PEER)
