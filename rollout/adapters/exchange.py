"""One question to a server over HTTP, which is answered in time or not at all."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

MAX_BYTES: Final = 2**26


class NoAnswerError(Exception):
    """Somebody did not answer; the message says who, and how."""


class Answer(NamedTuple):
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    body: Any = None,
    timeout: float = 5.0,
    limit: int = MAX_BYTES,
) -> Answer:
    """POST `form`, or `body` as JSON; `timeout` seconds are for all of it, `limit` bytes for what
    comes back.

    No proxy of the environment is used and no redirect followed. Not for use in an event loop.

    Raises NoAnswerError with one line, which tells no more of the address than its host: paths may
    be secrets.
    """
    shown = place(url)

    async def ask() -> Answer:
        # Every answer comes whole or not at all, however slowly its bytes drip.
        async with asyncio.timeout(timeout):
            verify = _certificates() if url.startswith("https:") else False
            async with (
                httpx.AsyncClient(trust_env=False, timeout=timeout, verify=verify) as client,
                client.stream("POST", url, data=form, json=body) as response,
            ):
                received = bytearray()
                async for part in response.aiter_bytes():
                    received += part
                    if len(received) > limit:
                        raise NoAnswerError(f"{shown} sent more than {limit} bytes")
                return Answer(response.status_code, response.headers, bytes(received))

    try:
        return _within(timeout, ask)
    except (TimeoutError, httpx.TimeoutException):
        raise NoAnswerError(f"{shown} did not answer within {timeout:g} s") from None
    # An address that cannot be may end in any of the last three.
    except (
        httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, OverflowError, ExceptionGroup
    ) as error:  # fmt: skip
        raise NoAnswerError(
            f"{shown} did not answer: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None


def place(url: str) -> str:
    """`https://gate.example:8443`, of any address there."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        return "an address that cannot be"


def _within(seconds: float, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """What `ask` gives. Raises TimeoutError if that takes longer: the name of a host is looked up
    by a thread that nothing can stop, so it is left behind.
    """
    answers: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(asyncio.run(ask()))
        except BaseException as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True, name="exchange").start()
    try:
        found = answers.get(timeout=seconds + 0.5)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, BaseException):
        raise found
    return found


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()
