"""A model from code whose signature is its type hint."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from pydantic import BaseModel


class Customer(BaseModel):
    """One row of the input."""

    age: int
    income: float
    city: str | None = None


class Hints(PythonModel):
    """Answers with a line for each customer."""

    def predict(  # type: ignore[override]
        self, model_input: list[Customer], params: Any = None
    ) -> list[str]:
        """Returns what the model sees of each customer."""
        return [repr(customer) for customer in model_input]


set_model(Hints())
