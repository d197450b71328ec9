"""One question to a server over HTTP, which is answered in time or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

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

    Raises NoAnswerError with one line.
    """

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
                        raise NoAnswerError(f"{url} sent more than {limit} bytes")
                return Answer(response.status_code, response.headers, bytes(received))

    try:
        return asyncio.run(ask())
    except (TimeoutError, httpx.TimeoutException):
        raise NoAnswerError(f"{url} did not answer within {timeout:g} s") from None
    # An address that cannot be may end in any of the last three.
    except (
        httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, OverflowError, ExceptionGroup
    ) as error:  # fmt: skip
        raise NoAnswerError(
            f"{url} did not answer: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()
