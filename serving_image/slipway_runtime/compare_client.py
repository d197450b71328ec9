"""One side of a comparison: a model server that is asked for an answer."""

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from slipway_runtime.compare_answers import Answer

# A Service spreads connections, not requests: those that stay miss the pods that came since.
_OLDEST_SECONDS: Final = 30.0
_UNAVAILABLE: Final = 503


class NoAnswerError(Exception):
    """The side gave nothing to compare; the message says why, in a few words."""


@dataclass(frozen=True)
class Copied:
    """A copied request: its path with the query, the headers that matter, and its body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Side:
    """A model server, over one connection for each thread that asks.

    Args:
        host, port: where it is.
        seconds: the most that one answer may keep the connection silent.
        max_bytes: of an answer.
    """

    def __init__(self, host: str, port: int, seconds: float, max_bytes: int) -> None:
        self._where = (host, port)
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._kept = threading.local()

    def ask(self, copied: Copied) -> Answer:
        """Returns the answer to ``copied``.

        Raises:
            NoAnswerError: it cannot be reached, is too slow or not ready (503), or its answer is
                too long.
        """
        connection: http.client.HTTPConnection | None = self._connection()
        if connection is not None:
            try:
                return self._ask(connection, copied)
            except (OSError, http.client.HTTPException):
                # It may just have been closed at the other end: that says nothing of the server.
                self._forget()
        connection = http.client.HTTPConnection(*self._where, timeout=self._seconds)
        self._kept.connection, self._kept.since = connection, time.monotonic()
        try:
            return self._ask(connection, copied)
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            raise NoAnswerError(str(error) or type(error).__name__) from None

    def _connection(self) -> http.client.HTTPConnection | None:
        kept: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        if kept is not None and time.monotonic() - self._kept.since > _OLDEST_SECONDS:
            self._forget()
            return None
        return kept

    def _forget(self) -> None:
        self._kept.connection.close()
        self._kept.connection = None

    def _ask(self, connection: http.client.HTTPConnection, copied: Copied) -> Answer:
        connection.request("POST", copied.path, copied.body, dict(copied.headers))
        response = connection.getresponse()
        content = response.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            self._forget()
            raise NoAnswerError(f"an answer of more than {self._max_bytes} bytes")
        if response.will_close:
            self._forget()
        if response.status == _UNAVAILABLE:
            raise NoAnswerError("503")
        length = response.getheader("inference-header-content-length")
        return Answer(response.status, content, length)
