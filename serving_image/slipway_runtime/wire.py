"""The frames that front workers and model processes exchange over a Unix socket.

A frame is a header (little endian: 4 bytes length of what follows the header, 4 bytes number, 1
byte kind, 4 bytes length of the meta data), the meta data as JSON, and a payload of bytes. A
question and its answer carry the same number.
"""

import asyncio
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import orjson

from slipway_runtime.errors import RequestError

_HEADER: Final = struct.Struct("<IIBI")


class Kind(IntEnum):
    """What a frame is."""

    SCORE = 1  # a request in MLflow's protocol; meta: content_type, request_id, trace if sampled
    INFER = 2  # a request in the Open Inference Protocol; meta: likewise, header_length
    CANCEL = 3  # nobody waits for the answer any more
    ANSWER = 4  # payload: the answer's body; meta: header_length; steps and rows if sampled
    ERROR = 5  # meta: a RequestError
    EVENT = 6  # meta: event and what belongs to it


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: Kind
    number: int
    meta: dict[str, Any]
    payload: bytes = b""

    def encode(self) -> bytes:
        """Returns the frame's bytes."""
        meta = orjson.dumps(self.meta)
        size = len(meta) + len(self.payload)
        return _HEADER.pack(size, self.number, self.kind, len(meta)) + meta + self.payload


async def read(reader: asyncio.StreamReader) -> Frame:
    """Returns the next frame.

    Raises:
        asyncio.IncompleteReadError: the other side is gone.
        ConnectionError: likewise.
    """
    size, number, kind, meta_size = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    content = await reader.readexactly(size)
    meta = orjson.loads(content[:meta_size])
    return Frame(Kind(kind), number, meta, content[meta_size:])


def error_meta(error: RequestError) -> dict[str, Any]:
    """Returns a `RequestError` as meta data."""
    return {
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "error_type": error.error_type,
        "headers": error.headers,
    }


def error_of(meta: dict[str, Any]) -> RequestError:
    """Returns the `RequestError` in meta data."""
    return RequestError(
        meta["status"], meta["code"], meta["message"], meta["error_type"], meta["headers"]
    )
