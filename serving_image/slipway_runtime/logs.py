"""Structured logs: one JSON object a line on standard output.

Fields: ``time`` (RFC 3339, UTC), ``level``, ``event``, then whatever the event carries, and
``trace_id`` and ``span_id`` where it is about a request whose trace is sampled. Only start, ready,
errors and stop are logged; requests are counted in the metrics instead.

An exception is logged as its type and its call stack, without its message and without source lines:
messages of a model's libraries quote the values they choke on, and those belong to the client.
"""

import json
import logging
import os
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from slipway_runtime.trace_context import current

_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_STACK_DEPTH: Final = 12
_REPEAT_SECONDS: Final = 10.0
_TERMINATION_LOG_BYTES: Final = 4096


def describe_stack(trace: TracebackType | None) -> list[str]:
    """Returns the innermost frames of ``trace`` as ``file:line function``, outermost first."""
    frames = traceback.extract_tb(trace)[-_STACK_DEPTH:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; fields given by ``extra=`` are kept as they are."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if (trace := current.get()) is not None:
            line |= trace.ids
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__qualname__
            line["stack"] = describe_stack(record.exc_info[2])
        return json.dumps(line, default=str)


class RepeatFilter(logging.Filter):
    """Lets one exception through every ten seconds per place it is raised at.

    A broken model version fails at every request; its log must not fill the node's disk. The line
    that passes next carries the number of those that did not, as ``suppressed``.
    """

    def __init__(self, seconds: float = _REPEAT_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.exc_info or record.exc_info[0] is None:
            return True
        place = describe_stack(record.exc_info[2])[-1:]
        key = (record.msg, record.exc_info[0], *place)
        now = time.monotonic()
        last, suppressed = self._seen.get(key, (-self._seconds, 0))
        if now - last < self._seconds:
            self._seen[key] = (last, suppressed + 1)
            return False
        self._seen[key] = (now, 0)
        if suppressed:
            record.suppressed = suppressed
        return True


def configure(stream: IO[str] | None = None) -> None:
    """Sends every logger's records to ``stream`` (standard output) as JSON lines.

    Loggers of libraries are heard from WARNING upwards, Slipway's own from INFO. Python's warnings
    become records too.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("slipway").setLevel(logging.INFO)
    logging.captureWarnings(True)


def adopt_mlflow_loggers() -> None:
    """Takes MLflow's loggers over; call it once MLflow is imported, which sets them up."""
    for name in ("mlflow", "alembic"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
        logger.propagate = True


def silence_per_request_warnings() -> None:
    """Hears libraries from ERROR upwards only; call it once the model is loaded.

    What MLflow and the model's libraries warn of per request (additional columns, missing feature
    names) names the client's columns and says the same thing thousands of times.
    """
    for name in ("mlflow", "py.warnings"):
        logging.getLogger(name).setLevel(logging.ERROR)


def write_termination_message(message: str) -> None:
    """Leaves ``message`` where Kubernetes looks for the reason of a container's end.

    The path is ``$TERMINATION_LOG``, by default ``/dev/termination-log``, as in Kubernetes. Outside
    a pod there is no such file, and then nothing is written.
    """
    path = Path(os.environ.get("TERMINATION_LOG", "/dev/termination-log"))
    try:
        # "r+" and not "w": the file is the kubelet's; one that is not there is not made.
        with path.open("r+", encoding="utf-8") as file:
            file.truncate()
            file.write(message.encode()[:_TERMINATION_LOG_BYTES].decode(errors="ignore"))
    except OSError:
        pass
