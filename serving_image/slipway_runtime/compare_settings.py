"""The comparer's settings, from environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from slipway_runtime.settings import SettingsError


@dataclass(frozen=True)
class ComparerSettings:
    """What a comparer is told by its environment. Those without a default are required.

    Attributes:
        model_name: ``MODEL_NAME``.
        stable_version, shadow_version: ``STABLE_VERSION`` and ``SHADOW_VERSION``.
        stable, shadow: ``STABLE_URL`` and ``SHADOW_URL``, as in ``http://churn-v1``; the host and
            port of their servers.
        host: ``HOST``, by default ``0.0.0.0``; the address listened on.
        port: ``PORT``, by default 8080.
        held: ``MAX_HELD``, by default 32; requests that are received, wait or are compared at a
            time. Further ones are dropped.
        most: ``MAX_COMPARISONS``, by default 4; requests that are compared at a time. At the
            servers they stand in line with those of users, so more would be in their way.
        max_bytes: ``MAX_COMPARED_BYTES``, by default 512 KiB; longer requests are dropped. An
            answer may be twice as long.
        seconds: ``COMPARE_SECONDS``, by default 30; how long an answer is waited for.
    """

    model_name: str
    stable_version: str
    shadow_version: str
    stable: tuple[str, int]
    shadow: tuple[str, int]
    host: str = "0.0.0.0"  # noqa: S104  (of the pod: policies say who gets there)
    port: int = 8080
    held: int = 32
    most: int = 4
    max_bytes: int = 2**19
    seconds: int = 30

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings from ``env``.

        Raises:
            SettingsError: one of them is missing or not allowed.
        """
        return cls(
            model_name=_text(env, "MODEL_NAME"),
            stable_version=_text(env, "STABLE_VERSION"),
            shadow_version=_text(env, "SHADOW_VERSION"),
            stable=_server(env, "STABLE_URL"),
            shadow=_server(env, "SHADOW_URL"),
            host=env.get("HOST") or cls.host,
            port=_number(env, "PORT", cls.port, 65_535),
            held=_number(env, "MAX_HELD", cls.held, 1024),
            most=_number(env, "MAX_COMPARISONS", cls.most, 1024),
            max_bytes=_number(env, "MAX_COMPARED_BYTES", cls.max_bytes, 2**30),
            seconds=_number(env, "COMPARE_SECONDS", cls.seconds, 3600),
        )


def _text(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _server(env: Mapping[str, str], name: str) -> tuple[str, int]:
    value = _text(env, name)
    try:
        url = urlsplit(value)
        if url.scheme == "http" and url.hostname and url.path in ("", "/"):
            return url.hostname, url.port or 80
    except ValueError:
        pass
    raise SettingsError(f"{name}: {value!r} is not a URL such as http://churn-v1:80")


def _number(env: Mapping[str, str], name: str, default: int, high: int) -> int:
    value = env.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and len(value) < 12 and 1 <= int(value) <= high):
        raise SettingsError(f"{name}: {value!r} is not a whole number from 1 to {high}")
    return int(value)
