"""The fast path: a plain request answered without MLflow, pandas or a thread.

What it answers is what MLflow answers, byte for byte; what it is not sure of it leaves alone.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
import orjson

from slipway_runtime import v2
from slipway_runtime.compiled import Array, Compiled
from slipway_runtime.extract import Extractor, Matrix
from slipway_runtime.trace_context import UNTOLD, Steps

INFER: Final = "infer"
"""The Open Inference Protocol, beside the formats of `extract.FORMATS`."""


class FastPath:
    """Answers plain requests with a compiled model. Several threads may use it at once.

    Args:
        extractor: reads the requests.
        compiled: the model.
        model: its name and version, as answers tell them.
        most_rows: the most rows that are predicted in line, where a longer time holds others up.

    Attributes:
        rowwise: whether a row gets the same prediction, to the last bit, whatever rows are
            predicted with it; several requests may then be answered at once.
        classes: the labels that `predicted` gives the places of, or None.
    """

    def __init__(
        self,
        extractor: Extractor,
        compiled: Compiled,
        model: tuple[str, str] = ("", ""),
        most_rows: int = 1,
    ) -> None:
        self.most_rows = most_rows
        self._infers = True
        self._model = model
        self.extractor = extractor
        self.engine = compiled.engine
        self._predict = compiled.predictor()
        self._choose = compiled.chooser()
        self._labels: list[bytes] = []
        self.classes: list[Any] | None = None
        if self._choose is not None and compiled.classes is not None:
            self.classes = compiled.classes.tolist()
            self._labels = [json.dumps(label).encode() for label in self.classes]
        self.rowwise = False

    def serve(self, formats: Collection[str]) -> None:
        """Leaves all but these formats of request to MLflow.

        Args:
            formats: of `extract.FORMATS`, and `INFER` for the Open Inference Protocol.
        """
        self.extractor.formats = frozenset(formats) - {INFER}
        self._infers = INFER in formats

    def answer(self, body: bytes, in_line: bool = False) -> bytes | None:
        """Returns the JSON body of the prediction, or None where MLflow has to answer.

        Args:
            body: the request's body, in JSON.
            in_line: whether a request of many rows is left alone too.
        """
        answered = self.answered(body, in_line)
        return None if answered is None else answered[0]

    def answered(
        self, body: bytes, in_line: bool = False, steps: Steps = UNTOLD
    ) -> tuple[bytes, Matrix, Array] | None:
        """Returns what `answer` does, the request's matrix and the outputs as `predicted` does.

        How long it took goes to ``steps``.
        """
        matrix = self.extract(body)
        if matrix is None or (in_line and len(matrix) > self.most_rows):
            return None
        steps.done("parse")
        answers, matrix, outputs = self.predicted([matrix])
        steps.done("predict")
        return answers[0], matrix, outputs

    def extract(self, body: bytes) -> Matrix | None:
        """Returns the matrix of a request, of shape (rows, columns), or None as in `answer`."""
        try:
            return self.extractor.extract(orjson.loads(body))
        except orjson.JSONDecodeError:
            # Broken, or one of the liberties that the standard library takes: NaN, huge numbers.
            return None

    def answers(self, matrices: Sequence[Matrix]) -> list[bytes]:
        """Returns the JSON bodies of the predictions for several requests, predicted at once.

        For more than one only where `rowwise` says that it makes no difference.
        """
        return self.predicted(matrices)[0]

    def predicted(self, matrices: Sequence[Matrix]) -> tuple[list[bytes], Matrix, Array]:
        """Returns what `answers` does, the matrix of all requests, and the model's outputs.

        The outputs have the shape (rows,) or (rows, outputs); where there are `classes`, they are
        the labels' places among them.
        """
        matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
        if self._choose is None:
            outputs = self._predict(matrix)
            texts = [json.dumps(value).encode() for value in outputs.tolist()]
        else:
            outputs = self._choose(matrix)
            texts = [self._labels[place] for place in outputs.tolist()]
        found = []
        start = 0
        for part in matrices:
            rows = texts[start : start + len(part)]
            start += len(part)
            found.append(b'{"predictions": [%b]}' % b", ".join(rows))
        return found, matrix, outputs

    def infer(
        self, body: bytes, header_length: int | None, in_line: bool = False
    ) -> tuple[bytes, int | None] | None:
        """Answers a request of the Open Inference Protocol (see `v2`), or returns None.

        Args:
            body: the request's body.
            header_length: of the JSON at its start, where tensors in binary follow it.
            in_line: as in `answer`.

        Returns:
            The answer's body and the length of the JSON at its start, if tensors follow.

        Raises:
            RequestError: the request is not one of the protocol.
        """
        inferred = self.inferred(body, header_length, in_line)
        return None if inferred is None else inferred[0]

    def inferred(
        self,
        body: bytes,
        header_length: int | None,
        in_line: bool = False,
        steps: Steps = UNTOLD,
    ) -> tuple[tuple[bytes, int | None], Matrix, Array] | None:
        """Returns what `infer` does, the request's matrix and the model's predictions.

        How long it took goes to ``steps``.
        """
        names = self.extractor.names
        if not self._infers:
            return None
        request = v2.decode(body, header_length)
        if names is None or v2.params(request):
            return None
        matrix = v2.matrix(request, names, self.extractor.kinds)
        if matrix is None or (in_line and len(matrix) > self.most_rows):
            return None
        steps.done("parse")
        prediction = self._predict(matrix)
        steps.done("predict")
        answer = v2.encode(v2.outputs_of(prediction), request, *self._model)
        steps.done("serialise")
        return answer, matrix, prediction

    def predict(self, matrix: Matrix) -> Array:
        """Returns the predictions for a matrix of shape (rows, columns) in the signature's order.

        Raises:
            ValueError: the matrix has another number of columns.
        """
        if matrix.shape[1] != len(self.extractor.kinds):
            raise ValueError(f"{matrix.shape[1]} columns")
        return self._predict(np.ascontiguousarray(matrix))
