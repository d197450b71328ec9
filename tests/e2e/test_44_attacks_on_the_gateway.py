"""Attacks on the gateway: requests whose end is in doubt, too much of everything, other places."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.harness import PORTS, Load, Walk, raw


def send(text: str | bytes) -> bytes:
    """Send bytes to the gateway as they are; all it answers until it closes, or is silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", PORTS["gateway"]), 10) as connection:
        connection.settimeout(3)
        try:
            connection.sendall(text.encode() if isinstance(text, str) else text)
            while piece := connection.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
    return answer


def status(answer: bytes) -> int:
    """The status of the first response among the bytes; 0 where there is none."""
    words = answer.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") else 0


GET = "GET /models/churn/ping HTTP/1.1\r\n"
HIDDEN = "GET /models/churn/version HTTP/1.1\r\nHost: x\r\n\r\n"
POST = "POST /models/churn/invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = f"0\r\n\r\n{HIDDEN}"
SMUGGLED = {
    "length and chunks": f"{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}",
    "chunks and length": f"{POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{CHUNKED}",
    "two lengths": f"{POST}Content-Length: 0\r\nContent-Length: 50\r\n\r\n{HIDDEN}",
    "a list of lengths": f"{POST}Content-Length: 0, 50\r\n\r\n{HIDDEN}",
    "a signed length": f"{POST}Content-Length: +0\r\n\r\n{HIDDEN}",
    "a length below nothing": f"{POST}Content-Length: -1\r\n\r\n{HIDDEN}",
    "an unknown coding": f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n{CHUNKED}",
    "a coding misspelt": f"{POST}Transfer-Encoding: xchunked\r\n\r\n{CHUNKED}",
    "a space before the colon": f"{POST}Transfer-Encoding : chunked\r\n\r\n{CHUNKED}",
    "a folded header": f"{POST}Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n"
    + CHUNKED,
    "a bad chunk": f"{POST}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{HIDDEN}",
    "a null in a header": f"{GET}Host: x\r\nA: b\0c\r\n\r\n",
    "no host": f"{GET}\r\n",
}


@pytest.mark.parametrize("attack", SMUGGLED)
def test_the_gateway_lets_nothing_be_smuggled(walk: Walk, attack: str) -> None:
    """A request whose end is in doubt is refused, and what is behind it is never answered."""
    well = send(f"{GET}Host: x\r\n\r\n{HIDDEN}")
    assert well.count(b"HTTP/1.1 200") == 2 and b"3." in well, "two honest requests are answered"
    answer = send(SMUGGLED[attack])
    assert 400 <= status(answer) < 600 and status(answer) != 404, answer[:300]
    assert answer.count(b"HTTP/1.1") == 1, answer[:1000]


TOO_MUCH = {
    "a large header": f"{GET}Host: x\r\nA: {'a' * 100_000}\r\n\r\n",
    "many headers": f"{GET}Host: x\r\n"
    + "".join(f"A{number}: b\r\n" for number in range(2_000))
    + "\r\n",
    "a large name": f"{GET}Host: x\r\n{'A' * 100_000}: a\r\n\r\n",
    "a long cookie": f"{GET}Host: x\r\nCookie: {'a=b; ' * 40_000}\r\n\r\n",
    "a long path": f"GET /models/churn/ping?{'a' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without an end": f"{GET}Host: x\r\nA: {'a' * 1_000_000}",
}


def test_the_gateway_refuses_too_much_and_serves_others(walk: Walk) -> None:
    """Others' predictions go on, none fails, and the gateway's pod is the same."""

    def gateway() -> list[tuple[str, int]]:
        return [
            (pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"])
            for pod in walk.objects("pods", "istio-ingress", "istio=ingress")
        ]

    there = gateway()
    modest = f"{GET}Host: x\r\nA: {'a' * 8_000}\r\n\r\n"
    assert status(send(modest)) == 200
    with Load(per_second=20) as load:
        for _ in range(3):
            for what, request in TOO_MUCH.items():
                assert status(send(request)) in (400, 414, 431), what
    load.assert_no_failure()
    assert gateway() == there


def test_the_gateway_knows_its_routes_alone(walk: Walk) -> None:
    """It is no proxy for others, and neither its own pages nor a server's are behind it."""
    assert raw("GET", "/models/churn/ping")[0] == 200
    inside = "mlflow.mlflow.svc.cluster.local:5000"
    for path in (
        "/",
        "/api/2.0/mlflow/experiments/search",
        "/stats",
        "/config_dump",
        "/server_info",
        "/clusters",
        "/healthz/ready",
        "/debug/syncz",
        "/debug/pprof/",
        "/stats/prometheus",
        "/models/",
        "/models/nobody/invocations",
        "/models/churn",
        "/models/churn/docs",
        "/models/churn/openapi.json",
        "/models/churn/v2/repository/index",
        "/models/churn/v2/repository/models/churn/load",
        "/models/churn/v2/repository/models/churn/unload",
        "/models/churn/../../metrics",
        "/models/churn/..%2f..%2fmetrics",
        f"http://{inside}/health",
    ):
        for method in ("GET", "POST"):
            assert raw(method, path)[0] in (400, 404, 405), f"{method} {path}"
    for host in (inside, "istiod.istio-system.svc:15014", "169.254.169.254"):
        asked = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n"
        assert status(send(asked)) == 404, host
    assert status(send(f"CONNECT {inside} HTTP/1.1\r\nHost: {inside}\r\n\r\n")) in (400, 404, 405)
    assert status(send("TRACE /models/churn/ping HTTP/1.1\r\nHost: x\r\n\r\n")) in (400, 404, 405)
