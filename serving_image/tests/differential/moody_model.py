"""A model from code that answers in every way a model can, as its input says, or fails."""

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.pyfunc.model import PythonModel


def _raise(error: BaseException) -> Any:
    raise error


_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "raise": lambda data: _raise(ValueError(f"cannot bear {data}")),
    "exit": lambda data: _raise(KeyError("sesame-4711")),
    "invalid": lambda data: _raise(
        MlflowException(f"not {data}", error_code=INVALID_PARAMETER_VALUE)
    ),
    "internal": lambda data: _raise(MlflowException(f"inside {data}")),
    "busy": lambda data: _raise(MlflowException("later", error_code=TEMPORARILY_UNAVAILABLE)),
    "frame": lambda data: data,
    "series": lambda data: data["x"].rename(None),
    "named series": lambda data: data["x"],
    "dict": lambda data: {"a": data["x"].to_numpy(), "b": [1, 2.0, None, True]},
    "text": lambda data: "größe 😀",
    "surrogate": lambda data: "\ud800",
    "list": lambda data: [1, 2.5, "a", None, {"b": [np.float32(0.1), np.int8(3)]}],
    "none": lambda data: None,
    "number": lambda data: np.float64(0.1) + np.float64(0.2),
    "huge": lambda data: [10**400, 1e308, 5e-324, -0.0, 2**64],
    "object": lambda data: [1, object()],
    "nan": lambda data: np.array([np.nan, np.inf, -np.inf, -0.0, 0.0]),
    "matrix": lambda data: np.outer(data["x"].to_numpy(), [1.0, 0.1]),
    "dates": lambda data: [
        np.datetime64("2024-02-29T12:30"),
        pd.Timestamp("2024-02-29"),
        datetime.date(2024, 2, 29),
        pd.NaT,
    ],
    "bytes": lambda data: [b"\x00\xff", bytearray(b"abc")],
    "sets": lambda data: {1, 2},
    "keys": lambda data: {1: "a", None: "b", 2.5: "c"},
    "records": lambda data: data.to_dict(orient="records"),
}


class Moody(PythonModel):
    """Does what the first row's ``mood`` says; else answers ``x`` times the param ``factor``."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Returns an answer of one kind or another."""
        answer = _ANSWERS.get(str(model_input["mood"].iloc[0]))
        if answer is not None:
            return answer(model_input)
        return model_input["x"].to_numpy() * params["factor"]


set_model(Moody())
