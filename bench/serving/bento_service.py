"""The BentoML service: a scikit-learn model, an array in, an array out.

Found by `bentoml serve bento_service:Model`, in BentoML's environment; BENCH_MODEL is the file.
"""

import os
from typing import Any

import bentoml  # type: ignore[import-not-found]
import joblib  # type: ignore[import-untyped]
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    """One worker, no access log; BentoML's own defaults for the rest, metrics included."""

    def __init__(self) -> None:
        self.model: Any = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Answers rows × columns doubles with one value a row."""
        answer: np.ndarray = self.model.predict(rows)
        return answer
