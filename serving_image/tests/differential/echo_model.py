"""A model from code that answers with what it was given, types and all."""

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


def _told(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), repr(value.tolist())]
    if isinstance(value, pd.DataFrame):
        columns = [
            [repr(name), str(value.dtypes.iloc[at]), repr(value.iloc[:, at].tolist())]
            for at, name in enumerate(value.columns)
        ]
        return [len(value), repr(value.index), columns]
    if isinstance(value, dict):
        return [[repr(key), _told(child)] for key, child in value.items()]
    return [type(value).__name__, repr(value)]


class Echo(PythonModel):
    """Answers with the type, the types inside, and the values of its input and of its params."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Returns a description of ``model_input`` and ``params`` that JSON can hold."""
        return {"input": _told(model_input), "params": repr(params)}


set_model(Echo())
