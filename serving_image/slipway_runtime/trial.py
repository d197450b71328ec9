"""How a compiled model comes into service: compiled, tried, given to the front workers, proved.

What keeps it out is never an error: the model is served natively then, and a log line says why.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from slipway_runtime import gate, native
from slipway_runtime.extract import Extractor, Matrix, kinds_dtype
from slipway_runtime.fast import FastPath
from slipway_runtime.modelfile import ModelFile

if TYPE_CHECKING:
    from slipway_runtime.protocol import Scorer

_log = logging.getLogger("slipway.compiled")

_FOLDER: Final = "compiled"
# How long a request may keep a front worker's event loop to itself.
_INLINE_SECONDS: Final = 0.003
_MOST_ROWS: Final = 10_000


class Trial:
    """The trial of one model.

    Args:
        tell: tells the front workers of an event.
        scratch: where the compiled model is left for them.
        identity: the model's name and version.
    """

    def __init__(self, tell: Callable[..., None], scratch: Path, identity: tuple[str, str]) -> None:
        self._identity = identity
        self._tell = tell
        self._scratch = scratch
        self._fast: FastPath | None = None
        self._rows: Matrix | None = None

    def start(self, path: Path, model: ModelFile) -> bool:
        """Compiles the model, tries it against the native one and puts it into service.

        Args:
            path: the model's folder; it is allowed to load it.
            model: its facts.

        Returns:
            Whether it is in service; if not, the reason is logged and told.
        """
        started = time.perf_counter()
        try:
            reason = self._start(path, model)
        except Exception as error:
            # A model that does not load natively will say so again, and better, through MLflow.
            _log.warning("the model could not be compiled", exc_info=error)
            reason = type(error).__name__
        fields: dict[str, Any] = {"seconds": round(time.perf_counter() - started, 3)}
        if reason is not None:
            _log.info("the model is not compiled", extra=fields | {"reason": reason})
            return False
        _log.info("compiled", extra=fields)
        return True

    def _start(self, path: Path, model: ModelFile) -> str | None:
        extractor = Extractor.of(model)
        if extractor is None:
            return "its signature is not one of required columns of numbers"
        loaded = native.load(path, model)
        if loaded is None:
            return "only models of scikit-learn are compiled"
        from slipway_runtime.compiling import CannotCompileError, compile_model

        try:
            native.one_job(loaded.model)
            dtype = kinds_dtype(extractor.kinds)
            compiled, thresholds = compile_model(loaded.model, loaded.predict_fn, dtype)
        except CannotCompileError as error:
            return str(error)
        compiled.by_column = extractor.names is not None
        fast = FastPath(extractor, compiled, self._identity)
        body = native.example_body(path, model)
        example = extractor.extract(orjson.loads(body)) if body is not None else None
        rows = gate.draw(extractor, example, thresholds)
        names, kinds = extractor.names, extractor.kinds
        try:
            gate.against_native(fast, lambda batch: loaded.predict(batch, names, kinds), rows)
        except gate.DifferentAnswerError as error:
            return str(error)
        compiled.save(self._scratch / _FOLDER)
        self._fast, self._rows = fast, rows
        self._tell(
            "compiled",
            folder=str(self._scratch / _FOLDER),
            most_rows=_affordable(fast, rows),
            rowwise=gate.is_rowwise(fast, rows),
        )
        return None

    def prove(self, scorer: "Scorer") -> None:
        """Tries the compiled model against MLflow's own answers, and withdraws it if they differ.

        Args:
            scorer: gives MLflow's answers.
        """
        if self._fast is None or self._rows is None:
            raise RuntimeError("there is nothing to prove yet")
        started = time.perf_counter()
        try:
            scorer.one_job()
            answers, formats = gate.against_mlflow(
                self._fast,
                lambda body: scorer.score(body, "application/json"),
                scorer.infer,
                self._rows,
            )
        except Exception as error:
            reason = str(error) if isinstance(error, gate.DifferentAnswerError) else "a failure"
            _log.warning(
                "the compiled model is withdrawn", exc_info=error, extra={"reason": reason}
            )
            self._tell("withdrawn", reason=reason)
            return
        fields: dict[str, Any] = {"answers": answers, "formats": formats}
        fields["seconds"] = round(time.perf_counter() - started, 3)
        _log.info("the compiled model answers as MLflow does", extra=fields)
        self._tell("proved", formats=formats)


def _affordable(fast: FastPath, rows: Matrix) -> int:
    """Returns how many rows a front worker predicts in the time it may spend on one request."""
    fast.predict(rows)
    started = time.perf_counter()
    fast.predict(rows)
    each = (time.perf_counter() - started) / len(rows)
    return max(1, min(_MOST_ROWS, int(_INLINE_SECONDS / each)))
