"""The activator's settings, from environment variables."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from slipway_runtime.settings import SettingsError

_SHAPE = '{"churn-v1": {"model": "churn", "version": "1", "url": "http://…", "seconds": 60}}'


@dataclass(frozen=True)
class Sleeper:
    """A model server that may have no pod.

    Attributes:
        name: as in ``churn-v1``; requests say it.
        model, version: what it serves.
        host, port: where its own pods are reached, and nothing else.
        seconds: how long a request for it is held.
    """

    name: str
    model: str
    version: str
    host: str
    port: int
    seconds: float


@dataclass(frozen=True)
class ActivatorSettings:
    """What an activator is told by its environment. ``SERVERS`` alone is required.

    Attributes:
        servers: ``SERVERS``, a JSON object: name -> ``model``, ``version``, ``url`` of its pods,
            ``seconds`` that a request is held.
        host: ``HOST``, by default ``0.0.0.0``; the address listened on.
        port: ``PORT``, by default 8080; for requests that are held.
        own_port: ``OWN_PORT``, by default 8081; for questions about the activator itself.
        held: ``MAX_HELD``, by default 512; requests at a time, for all servers together. Further
            ones are answered with 503.
        held_bytes: ``MAX_HELD_BYTES``, by default 64 MiB; of their bodies together, likewise.
        max_bytes: ``MAX_REQUEST_BYTES``, by default 16 MiB, as of a model server; longer bodies are
            answered with 413.
        request_seconds: ``REQUEST_SECONDS``, by default 30; how long a body is waited for, and a
            server's answer, which is 504 after that.
    """

    servers: Mapping[str, Sleeper]
    host: str = "0.0.0.0"  # noqa: S104  (of the pod: policies say who gets there)
    port: int = 8080
    own_port: int = 8081
    held: int = 512
    held_bytes: int = 64 * 2**20
    max_bytes: int = 16 * 2**20
    request_seconds: int = 30

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings from ``env``.

        Raises:
            SettingsError: one of them is missing or not allowed.
        """
        return cls(
            servers=_servers(env.get("SERVERS", "")),
            host=env.get("HOST") or cls.host,
            port=_number(env, "PORT", cls.port, 65_535),
            own_port=_number(env, "OWN_PORT", cls.own_port, 65_535),
            held=_number(env, "MAX_HELD", cls.held, 2**16),
            held_bytes=_number(env, "MAX_HELD_BYTES", cls.held_bytes, 2**40),
            max_bytes=_number(env, "MAX_REQUEST_BYTES", cls.max_bytes, 2**31),
            request_seconds=_number(env, "REQUEST_SECONDS", cls.request_seconds, 3600),
        )


def _servers(text: str) -> dict[str, Sleeper]:
    if not text:
        raise SettingsError("SERVERS is not set")
    try:
        found = {name: _sleeper(name, value) for name, value in json.loads(text).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        found = {}
    if not found:
        raise SettingsError(f"SERVERS: is not a JSON object such as {_SHAPE}")
    return found


def _sleeper(name: str, value: Any) -> Sleeper:
    url = urlsplit(value["url"])
    seconds = float(value["seconds"])
    if url.scheme != "http" or not url.hostname or not 0 < seconds <= 3600:
        raise ValueError(name)
    where = (url.hostname, url.port or 80)
    return Sleeper(name, str(value["model"]), str(value["version"]), *where, seconds)


def _number(env: Mapping[str, str], name: str, default: int, high: int) -> int:
    value = env.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and len(value) < 15 and 1 <= int(value) <= high):
        raise SettingsError(f"{name}: {value!r} is not a whole number from 1 to {high}")
    return int(value)
