"""The model server's settings, from environment variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from slipway_runtime.processes import cpu_limit, memory_limit

# What a model process takes without a model, and how much more a model takes than its files.
_MODEL_PROCESS_BYTES: Final = 384 * 2**20
_TIMES_MODEL: Final = 3


class SettingsError(ValueError):
    """A setting that is missing or not allowed; the message names it, its value and the remedy."""


def _text(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    # It travels in a response header, where anything else is either refused or mangled.
    if not (value.isascii() and value.isprintable()):
        raise SettingsError(f"{name}: {value!r} has characters other than printable ASCII")
    return value


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    value = env.get(name, "") or str(default)
    try:
        number = int(value)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise SettingsError(f"{name}: {value!r} is not a whole number from {low} to {high}")
    return number


def _flag(env: Mapping[str, str], name: str, default: bool) -> bool:
    value = env.get(name, "") or str(default)
    if value.lower() not in ("true", "false"):
        raise SettingsError(f"{name}: {value!r} is neither true nor false")
    return value.lower() == "true"


def _traced(env: Mapping[str, str]) -> bool:
    """Tells whether spans go anywhere.

    Raises:
        SettingsError: where they are to go is no URL.
    """
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    given = {name: env[name] for name in endpoints if env.get(name)}
    for name, value in given.items():
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
            # Not the value: it may hold a key.
            raise SettingsError(f"{name}: is not a URL such as http://collector:4318, without more")
    return bool(given) and not _flag(env, "OTEL_SDK_DISABLED", False)


def _affordable(workers: int, model: Path) -> int:
    """Returns how many model processes the memory limit has room for, one a worker at most."""
    if (limit := memory_limit()) is None:
        return workers
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    return max(1, min(workers, limit // (_MODEL_PROCESS_BYTES + _TIMES_MODEL * size)))


@dataclass(frozen=True)
class ServerSettings:
    """What a model server is told by its environment.

    Attributes:
        model_name: ``MODEL_NAME``, required; the registered model served.
        model_version: ``MODEL_VERSION``, by default ``0``, for a model that is in no registry.
        model_path: ``MODEL_PATH``, by default ``/models/<model name>``; a folder with an
            ``MLmodel``.
        host: ``HOST``, by default ``0.0.0.0``; the address listened on.
        port: ``PORT``, by default 8080.
        drain_seconds: ``DRAIN_SECONDS``, by default 5; how long requests are still accepted after
            SIGTERM, so that every proxy has learned that this server goes.
        grace_seconds: ``GRACE_SECONDS``, by default 20; how long requests in flight are waited for
            after that. A pod's terminationGracePeriodSeconds must exceed the sum of both.
        request_seconds: ``REQUEST_SECONDS``, by default MLflow's own
            ``MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT`` or 60; longer requests are answered with 504.
        max_request_bytes: ``MAX_REQUEST_BYTES``, by default 16 MiB; longer bodies are answered with
            413.
        max_values: ``MAX_VALUES``, by default 2,000,000; numbers, texts, rows and lists in a
            request. One with more is answered with 413: a value of two bytes takes a hundred in
            memory. Tensors in binary are not counted.
        threads: ``PREDICTION_THREADS``, by default as many as asyncio takes (CPUs + 4, at most 32);
            predictions that a model process works on at the same time.
        workers: ``WORKERS``, by default the CPU limit rounded down, at least 1; front workers.
        model_processes: ``MODEL_PROCESSES``, by default one for each front worker, as far as the
            memory limit has 384 MiB and three times the model's files for each, at least 1. A model
            process holds the model.
        queue: ``MAX_QUEUE``, by default 256; requests that wait for a model process. Further ones
            are answered with 503 and Retry-After.
        compiled: ``COMPILED``, by default ``true``; whether a model is compiled where it can be.
        allow_pickle: ``ALLOW_PICKLE``, by default ``false``; whether a model may be loaded that
            holds pickles, and so runs code of its own when it is loaded.
        drift_rows: ``DRIFT_ROWS``, by default 20; rows a second that each process looks at for
            drift, where the model has a profile; 0 for none. See `drift`.
        traced: whether sampled requests leave spans: ``OTEL_EXPORTER_OTLP_ENDPOINT`` or
            ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` is set, and ``OTEL_SDK_DISABLED`` is not
            ``true``. See `tracing`.
    """

    model_name: str
    model_version: str
    model_path: Path
    host: str = "0.0.0.0"  # noqa: S104  (of the pod: policies say who gets there)
    port: int = 8080
    drain_seconds: int = 5
    grace_seconds: int = 20
    request_seconds: int = 60
    max_request_bytes: int = 16 * 2**20
    threads: int = 8
    workers: int = 1
    model_processes: int = 1
    queue: int = 256
    max_values: int = 2_000_000
    compiled: bool = True
    allow_pickle: bool = False
    drift_rows: int = 20
    traced: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings from ``env``.

        Raises:
            SettingsError: one of them is missing or not allowed.
        """
        name = _text(env, "MODEL_NAME")
        workers = _number(env, "WORKERS", cpu_limit(), 1, 256)
        path = Path(env.get("MODEL_PATH") or f"/models/{name}")
        timeout = _number(env, "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", 60, 1, 86_400)
        return cls(
            model_name=name,
            model_version=_text({"MODEL_VERSION": "0"} | dict(env), "MODEL_VERSION"),
            model_path=path,
            host=env.get("HOST") or cls.host,
            port=_number(env, "PORT", 8080, 1, 65_535),
            drain_seconds=_number(env, "DRAIN_SECONDS", 5, 0, 3600),
            grace_seconds=_number(env, "GRACE_SECONDS", 20, 0, 86_400),
            request_seconds=_number(env, "REQUEST_SECONDS", timeout, 1, 86_400),
            max_request_bytes=_number(env, "MAX_REQUEST_BYTES", 16 * 2**20, 1, 2**31),
            threads=_number(env, "PREDICTION_THREADS", min(32, (os.cpu_count() or 1) + 4), 1, 256),
            workers=workers,
            model_processes=_number(env, "MODEL_PROCESSES", _affordable(workers, path), 1, 256),
            queue=_number(env, "MAX_QUEUE", cls.queue, 1, 2**20),
            max_values=_number(env, "MAX_VALUES", cls.max_values, 1, 2**31),
            compiled=_flag(env, "COMPILED", cls.compiled),
            allow_pickle=_flag(env, "ALLOW_PICKLE", cls.allow_pickle),
            drift_rows=_number(env, "DRIFT_ROWS", cls.drift_rows, 0, 1000),
            traced=_traced(env),
        )
