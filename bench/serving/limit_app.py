"""The limit: the least that any Python server does for a prediction request.

Raw ASGI on uvicorn with httptools and uvloop: the body is read and parsed, the answer is constant.
"""

from __future__ import annotations

from typing import Any

import orjson


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers `{"predictions": [0]}` to a JSON body, and to none, which asks whether it is up."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if body:
        orjson.loads(body)
    answer = orjson.dumps({"predictions": [0]})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
