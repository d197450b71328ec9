"""The models the protocol's tests share."""

import mlflow
import pytest
from mlflow.pyfunc import PyFuncModel

from slipway_runtime.protocol import load_model

from .witness import SIGNATURES, Witness


@pytest.fixture(scope="session")
def witnesses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PyFuncModel]:
    """A model for each signature in `SIGNATURES`."""
    folder = tmp_path_factory.mktemp("witnesses")
    models = {}
    for name, signature in SIGNATURES.items():
        mlflow.pyfunc.save_model(
            str(folder / name),
            python_model=Witness(),
            signature=signature,
            pip_requirements=["mlflow"],
        )
        models[name] = load_model(folder / name)
    return models
