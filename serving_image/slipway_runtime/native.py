"""Loads a model with its own library alone.

Importing MLflow takes longer than loading most models. So a scikit-learn model is loaded here
first, to be compiled and tried at once; MLflow follows for whatever the compiled model leaves.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipway_runtime.extract import Matrix
from slipway_runtime.modelfile import ModelFile

_SWITCHED_OFF: Final = ("0", "false")
_DTYPES: Final = {
    "double": np.float64,
    "float": np.float32,
    "long": np.int64,
    "integer": np.int32,
    "boolean": np.bool_,
}


@dataclass(frozen=True)
class Native:
    """A loaded scikit-learn model.

    Attributes:
        model: the estimator or pipeline.
        predict_fn: the name of the method that answers requests.
    """

    model: Any
    predict_fn: str

    def predict(self, rows: Matrix, names: tuple[str, ...] | None, kinds: tuple[str, ...]) -> Any:
        """Returns the predictions for rows, given as the table that MLflow would make of them.

        Args:
            rows: shape (rows, columns).
            names: the columns' names, or None for a bare array.
            kinds: the columns' types, words of `extract`.
        """
        if names is None:
            return getattr(self.model, self.predict_fn)(rows.astype(_DTYPES[kinds[0]]))
        import pandas

        columns: dict[str, Any] = {
            name: rows[:, at].astype(_DTYPES[kind])
            for at, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
        return getattr(self.model, self.predict_fn)(pandas.DataFrame(columns))


def one_job(model: Any) -> None:
    """Has a scikit-learn model predict in one thread.

    Several add up their trees in whatever order they end, so that not even the same model gives the
    same bits twice; and for the few rows of a request they only cost time.
    """
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    if hasattr(model, "n_jobs"):
        model.n_jobs = 1


def load(path: Path, model: ModelFile) -> Native | None:
    """Loads the model in the folder ``path``, or returns None where that is MLflow's business.

    Loading a pickled model runs the code in it: check first that it may.

    Raises:
        Exception: whatever the library raises.
    """
    flavor = model.flavors.get("sklearn")
    pyfunc = model.flavors.get("python_function", {})
    if flavor is None or pyfunc.get("loader_module") != "mlflow.sklearn" or pyfunc.get("code"):
        return None
    allowed = os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true").lower()
    if allowed in _SWITCHED_OFF or os.environ.get("SERVING_MODEL_CONFIG"):
        return None
    loaders: dict[str, Callable[[Path], Any]] = {
        "skops": lambda file: _skops(file, flavor.get("skops_trusted_types")),
        "cloudpickle": _cloudpickle,
        "pickle": _cloudpickle,
    }
    loader = loaders.get(str(flavor.get("serialization_format", "pickle")))
    file = flavor.get("pickled_model")
    if loader is None or not isinstance(file, str):
        return None
    return Native(loader(path / file), str(pyfunc.get("predict_fn", "predict")))


def _cloudpickle(file: Path) -> Any:
    import cloudpickle

    with file.open("rb") as stream:
        return cloudpickle.load(stream)


def _skops(file: Path, trusted: Any) -> Any:
    import skops.io

    return skops.io.load(file, trusted=trusted)


def example_body(path: Path, model: ModelFile) -> bytes | None:
    """Returns the model's example request, or None where it was saved without one.

    Raises:
        OSError: the example is announced but cannot be read.
        ValueError: it is not JSON.
    """
    if model.example is None:
        return None
    body = (path / model.example).read_bytes()
    json.loads(body)
    return body
