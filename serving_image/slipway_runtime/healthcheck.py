"""Asks the server on this machine whether it lives: the image's HEALTHCHECK.

``python -m slipway_runtime.healthcheck`` exits 0 when ``/health/live`` on ``PORT`` (8080 unless
set) answers 200 within two seconds, else 1 with a line that says why. It runs every few seconds, so
it speaks to a socket: importing an HTTP library would take longer than the question.
"""

import os
import socket
import sys
from collections.abc import Mapping

_TIMEOUT_SECONDS = 2.0


def fault(env: Mapping[str, str] = os.environ) -> str:
    """Why the server is not well, or an empty string."""
    host = env.get("HOST", "")
    # An address that stands for all of them can be listened on, not asked.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    port = env.get("PORT") or "8080"
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(
                b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            status = connection.makefile("rb").readline(256).split(b" ", 2)
    except (OSError, ValueError, OverflowError) as error:
        return f"{host}:{port} does not answer: {error}"
    if len(status) < 2 or status[1] != b"200":
        answer = b" ".join(status).decode("latin-1").strip()
        return f"{host}:{port}/health/live answers {answer!r}"
    return ""


if __name__ == "__main__":
    reason = fault()
    if reason:
        print(reason, file=sys.stderr)
        sys.exit(1)
