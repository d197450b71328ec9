"""A model that says what it got, by the protocol and by MLflow's own."""

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property

from slipway_runtime import v2


class Witness(PythonModel):
    """Answers with all there is to know about its input."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        if isinstance(model_input, pd.DataFrame):
            columns = [model_input.iloc[:, index] for index in range(model_input.shape[1])]
            return [[str(c.name), str(c.dtype), repr(c.tolist())] for c in columns]
        if isinstance(model_input, np.ndarray):
            return [str(model_input.dtype), model_input.shape, repr(model_input.tolist())]
        return {name: self.predict(context, array) for name, array in model_input.items()}


WIDE = ModelSignature(
    inputs=Schema(
        [
            *(ColSpec(kind, kind.name) for kind in DataType.all_types()),
            ColSpec(Array(DataType.double), "list"),
            ColSpec(Object([Property("a", DataType.long)]), "object"),
            ColSpec(Map(DataType.string), "map"),
            ColSpec(AnyType(), "any", required=False),
            ColSpec(DataType.double, "maybe", required=False),
        ]
    )
)


SIGNATURES = {
    "wide": WIDE,
    "unnamed": ModelSignature(inputs=Schema([ColSpec(DataType.double), ColSpec(DataType.long)])),
    "tensor": ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 2))])),
    "tensors": ModelSignature(
        inputs=Schema(
            [
                TensorSpec(np.dtype("int64"), (-1,), "n"),
                TensorSpec(np.dtype("str"), (-1, 1), "s"),
                TensorSpec(np.dtype("object"), (-1,), "o"),
            ]
        )
    ),
    "none": None,
}


def specs_of(model: PyFuncModel) -> list[dict[str, Any]] | None:
    """Returns the inputs of a model's signature."""
    schema = model.metadata.get_input_schema()
    return None if schema is None else list(schema.to_dict())


def by_protocol(model: PyFuncModel, request: v2.InferRequest) -> Any:
    """Returns the prediction for a request of the protocol."""
    return model.predict(v2.model_input(request, specs_of(model)))


def by_mlflow(model: PyFuncModel, body: dict[str, Any]) -> Any:
    """Returns the prediction for a body of MLflow's own protocol."""
    parsed = scoring_server._parse_json_data(
        body, model.metadata, model.metadata.get_input_schema()
    )
    return model.predict(parsed.data)
