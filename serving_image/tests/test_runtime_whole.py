"""Answers in one piece, over a socket whose reader sees each piece that is sent."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
import uvloop

from slipway_runtime.hot import HotProtocol
from slipway_runtime.whole import WholeWrites

Message = dict[str, Any]
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


class Transport:
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_two_writes_of_a_turn_are_one() -> None:
    async def main() -> None:
        transport: Any = Transport()
        whole = WholeWrites(transport, asyncio.get_running_loop())
        whole.write(b"head ")
        assert transport.pieces == []
        whole.write(b"body")
        assert transport.pieces == [b"head body"]
        whole.write(b"head alone")
        await asyncio.sleep(0)
        assert transport.pieces[1:] == [b"head alone"]
        whole.write(b"")
        whole.write(b"last")
        assert not whole.is_closing()
        whole.close()
        assert transport.pieces[2:] == [b"last"]
        assert whole.is_closing()
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "messages", "pieces"),
    [
        ("GET", [START | {"headers": [(b"content-length", b"4")]}, b"body"], [b"\r\n\r\nbody"]),
        ("GET", [START, b"body"], [b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]),
        ("HEAD", [START | {"headers": [(b"content-length", b"4")]}, b"body"], [b"\r\n\r\n"]),
        ("GET", [START | {"status": 204}, b""], [b"\r\n\r\n"]),
        # What comes late is not waited for.
        ("GET", [START, None, b"body"], [b"\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n"]),
    ],
)
def test_an_answer_is_one_piece(method: str, messages: list[Any], pieces: list[bytes]) -> None:
    """Through uvicorn's own protocol, for each way in which it ends an answer."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        for message in messages:
            if message is None:
                await asyncio.sleep(0.05)
            elif isinstance(message, bytes):
                await send({"type": "http.response.body", "body": message})
            else:
                await send(message)

    async def main() -> list[bytes]:
        server: Any = SimpleNamespace(
            fast=None, draining=False, started=True, settings=SimpleNamespace(
                model_name="m", model_version="1"
            )
        )  # fmt: skip
        config = uvicorn.Config(app, lifespan="off", log_level="error")
        config.load()
        state = uvicorn.server.ServerState()
        protocol = HotProtocol.for_server(server)(config=config, server_state=state, app_state={})
        transport: Any = Transport()
        transport.get_extra_info = lambda name, default=None: default
        protocol.connection_made(transport)
        # The second request is answered after all of the first.
        request = b"%b / HTTP/1.1\r\nhost: x\r\n\r\n" % method.encode()
        protocol.data_received(request)
        await asyncio.sleep(0.2)
        protocol.data_received(request)
        await asyncio.sleep(0.2)
        found: list[bytes] = transport.pieces
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(main())
    assert len(found) == 2 * len(pieces), found
    for got, wanted in zip(found, pieces * 2, strict=True):
        assert got.endswith(wanted)
        assert got.startswith(b"HTTP/1.1 ") == (wanted[:4] == b"\r\n\r\n")
