"""Compiled models: the same numbers as the native model's, without the library that trained it.

A compiled model is a list of scalings, a core (a linear map, or a tree ensemble in ONNX Runtime)
and a finish that turns the core's scores into predictions. Everything is float64 and follows the
native library's own order of operations, so that predictions are equal to the last bit; whether
they are is not believed but tried, by `gate`.

It is made by `compiling` in the process that holds the native model, saved to a folder, and loaded
by front workers, which need NumPy and ONNX Runtime for it and no scikit-learn. The folder holds
``compiled.json``, ``arrays.npz`` (no pickles) and, for trees, ``trees.onnx``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from slipway_runtime.extract import Matrix

Array = np.ndarray[Any, np.dtype[Any]]
Engine = Literal["linear", "trees"]
Finish = Literal["scores", "positive", "not_negative", "argmax", "mean", "sigmoid", "softmax"]

_META: Final = "compiled.json"
_ARRAYS: Final = "arrays.npz"
_TREES: Final = "trees.onnx"


@dataclass(frozen=True)
class Scaling:
    """One step of arithmetic on every row: the matrix, an operation, one number a column."""

    operation: Literal["subtract", "divide", "multiply", "add"]
    operand: Array


@dataclass
class Compiled:
    """A compiled model.

    Attributes:
        engine: what its core is.
        scalings: what is done to the matrix first, in this order.
        weights: of a linear core, shape (columns,) or (columns, scores); else None.
        intercept: of a linear core, a number or shape (scores,).
        trees: of a tree core, the serialized ONNX model with input ``x`` (rows, columns) and output
            ``scores`` (rows, scores), both float64; else None.
        divisor: what the scores are divided by: the number of trees of a forest, else 1.
        finish: how scores become predictions:
            ``scores``: they are the predictions; ``mean``: one column of them;
            ``positive``: the second class where the score is above 0; ``not_negative``: where it is
            0 or above; ``argmax``: the class of the greatest score, the first of equals;
            ``sigmoid``, ``softmax``: probabilities.
        classes: the labels, or None where there are none.
        by_column: of a linear core, whether the native model gets a table, whose columns lie one
            after the other in memory, and not an array, whose rows do.
    """

    engine: Engine
    finish: Finish
    scalings: list[Scaling] = field(default_factory=list)
    weights: Array | None = None
    intercept: Array | None = None
    trees: bytes | None = None
    divisor: int = 1
    classes: Array | None = None
    by_column: bool = True

    def save(self, folder: Path) -> None:
        """Writes it to ``folder``, which is made."""
        folder.mkdir(parents=True)
        arrays = {f"scaling{at}": step.operand for at, step in enumerate(self.scalings)}
        named = {"weights": self.weights, "intercept": self.intercept, "classes": self.classes}
        arrays |= {name: array for name, array in named.items() if array is not None}
        np.savez(folder / _ARRAYS, **arrays)  # type: ignore[arg-type]
        if self.trees is not None:
            (folder / _TREES).write_bytes(self.trees)
        meta: dict[str, Any] = {"engine": self.engine, "finish": self.finish}
        meta |= {"divisor": self.divisor, "by_column": self.by_column}
        meta |= {"scalings": [step.operation for step in self.scalings]}
        (folder / _META).write_text(json.dumps(meta))

    @classmethod
    def load(cls, folder: Path) -> "Compiled":
        """Reads what `save` wrote.

        Raises:
            OSError, ValueError, KeyError: it is not there or not whole.
        """
        meta = json.loads((folder / _META).read_text())
        with np.load(folder / _ARRAYS, allow_pickle=False) as file:
            arrays: Mapping[str, Array] = {name: file[name] for name in file.files}
        scalings = [
            Scaling(name, arrays[f"scaling{at}"]) for at, name in enumerate(meta["scalings"])
        ]
        trees = folder / _TREES
        return cls(
            engine=meta["engine"],
            finish=meta["finish"],
            divisor=meta["divisor"],
            by_column=meta["by_column"],
            scalings=scalings,
            weights=arrays.get("weights"),
            intercept=arrays.get("intercept"),
            classes=arrays.get("classes"),
            trees=trees.read_bytes() if trees.exists() else None,
        )

    def predictor(self) -> Callable[[Matrix], Array]:
        """Returns the function from a matrix of shape (rows, columns) to its predictions.

        It may be called by several threads at once.
        """
        core = self._linear() if self.engine == "linear" else self._ensemble()
        finish = self._finish()
        if not self.scalings:
            return lambda matrix: finish(core(matrix))
        steps = [(getattr(np, step.operation), step.operand) for step in self.scalings]

        def predict(matrix: Matrix) -> Array:
            for operation, operand in steps:
                matrix = operation(matrix, operand)
            return finish(core(matrix))

        return predict

    def chooser(self) -> Callable[[Matrix], Array] | None:
        """Returns the function from a matrix to the places of the labels among the classes.

        None where predictions are not labels.
        """
        if self.classes is None or self.finish not in ("positive", "not_negative", "argmax"):
            return None
        return replace(self, classes=np.arange(len(self.classes))).predictor()

    def _linear(self) -> Callable[[Matrix], Array]:
        weights, intercept = self.weights, self.intercept
        if weights is None or intercept is None:
            raise ValueError("a linear model without weights")
        # BLAS adds up in another order for another layout.
        if not self.by_column:
            return lambda matrix: matrix @ weights + intercept
        # Only a copy has the strides of a table, a single row included.
        return lambda matrix: matrix.T.copy().T @ weights + intercept

    def _ensemble(self) -> Callable[[Matrix], Array]:
        if self.trees is None:
            raise ValueError("a tree ensemble without trees")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            self.trees, options, providers=["CPUExecutionProvider"]
        )
        divisor = self.divisor

        def run(matrix: Matrix) -> Array:
            scores: Array = session.run(["scores"], {"x": matrix})[0]
            return scores if divisor == 1 else scores / divisor

        return run

    def _finish(self) -> Callable[[Array], Array]:
        classes = self.classes
        if self.finish == "scores":
            return lambda scores: scores
        if self.finish == "mean":
            return lambda scores: scores[:, 0]
        if self.finish == "sigmoid":
            return _sigmoid()
        if self.finish == "softmax":
            return _softmax
        if classes is None:
            raise ValueError("labels without classes")
        if self.finish == "positive":
            return lambda scores: classes.take((scores.ravel() > 0).astype(np.int64))
        if self.finish == "not_negative":
            return lambda scores: classes.take((scores.ravel() >= 0).astype(np.int64))
        return lambda scores: classes.take(scores.argmax(axis=1))


def _sigmoid() -> Callable[[Array], Array]:
    from scipy.special import expit

    def probabilities(scores: Array) -> Array:
        positive = expit(scores.ravel())
        return np.stack([1 - positive, positive], axis=1)

    return probabilities


def _softmax(scores: Array) -> Array:
    # The order of operations is scikit-learn's (utils/extmath.py, softmax).
    scores = np.exp(scores - scores.max(axis=1).reshape(-1, 1))
    total: Array = scores.sum(axis=1).reshape(-1, 1)
    return scores / total
