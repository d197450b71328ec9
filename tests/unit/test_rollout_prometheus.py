"""Prometheus asked over HTTP, by a server that answers as Prometheus 3.13 did or fails to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.exchange import NoAnswerError, exchange
from rollout.adapters.prometheus import Prometheus, PrometheusError, quoted
from rollout.judge.evidence import Block, Counts, Reading
from tests.unit.rollout_server import Asked, Handler, Respond, Server, hang, serving

# A minute of churn, versions 1 and 2, under 15 requests a second of which every tenth was refused.
# The client was told by version 1: 553 times 200 and 61 times 400; by version 2: 54 and 7.
RECORDED: dict[str, Any] = json.loads(
    Path(__file__).with_name("rollout_recording.json").read_text()
)
BEGAN, ENDED = 1795283730, 1795283790


def replay(handler: Handler, asked: Asked) -> None:
    """What Prometheus held at that time, cut to what the query asks for."""
    query, _, seconds = asked.form["query"].removesuffix("s]").rpartition("[")
    until = float(asked.form["time"])
    like, _, versions = query.partition("model_version=~")
    found = next(answer for text, answer in RECORDED.items() if text.startswith(like))
    result = [
        {**one, "values": [v for v in one["values"] if until - int(seconds) < v[0] <= until]}
        for one in found["data"]["result"]
        if not versions or one["metric"]["model_version"] in versions.split('"')[1].split("|")
    ]
    data = {"resultType": "matrix", "result": [one for one in result if one["values"]]}
    handler.reply(json.dumps({"status": "success", "data": data}))


def answering(data: object, **more: object) -> str:
    return json.dumps({"status": "success", "data": data, **more})


def asking(respond: Respond | str, call: Callable[[Prometheus], Any], timeout: float = 2) -> Any:
    with serving(respond) as server:
        return call(Prometheus(server.url, timeout))


def read(respond: Respond | str, timeout: float = 2) -> Reading:
    """A reading of which the address is told as `HERE`."""
    with serving(respond) as server:
        found = Prometheus(server.url, timeout).read("churn", 2, 1, BEGAN, ENDED + 10)
    missing = tuple(line.replace(server.url, "HERE") for line in found.missing)
    return Reading(found.blocks, missing)


# Readings


def test_a_recorded_minute_adds_up_to_what_the_client_saw() -> None:
    reading = read(replay)
    assert [block.start for block in reading.blocks] == list(range(BEGAN, ENDED, 10))
    canary = sum((block.canary for block in reading.blocks), Counts())
    stable = sum((block.stable for block in reading.blocks), Counts())
    assert (canary.requests, canary.errors, canary.arrived, canary.failed) == (61, 7, 61, 0)
    assert (stable.requests, stable.errors, stable.arrived, stable.failed) == (614, 61, 614, 0)
    assert (sum(canary.buckets), sum(stable.buckets)) == (61, 614)
    assert reading.missing == ()


def test_who_looks_often_or_late_gets_the_same_blocks() -> None:
    with serving(replay) as server:
        prometheus = Prometheus(server.url)
        whole = prometheus.read("churn", 2, 1, BEGAN, ENDED + 10).blocks
        late = prometheus.read("churn", 2, 1, BEGAN, ENDED + 19.9).blocks
        parts: list[Block] = []
        after = float(BEGAN)
        for now in range(BEGAN, ENDED + 13, 3):
            found = prometheus.read("churn", 2, 1, after, now).blocks
            parts += found
            after = found[-1].end if found else after
    assert whole == late == tuple(parts)
    assert len(whole) == 6


def test_without_a_new_block_it_still_says_what_is_missing_now() -> None:
    with serving(replay) as server:
        prometheus = Prometheus(server.url)
        busy = prometheus.read("churn", 2, 1, ENDED - 10, ENDED - 5)
        silent = prometheus.read("churn", 9, 1, ENDED - 10, ENDED - 5)
    assert busy == Reading()
    assert silent == Reading((), ("no sample of version 9 since 17:56:00Z",))


def test_an_hour_is_the_most_that_is_read_and_in_parts() -> None:
    with serving(answering({"resultType": "matrix", "result": []})) as server:
        reading = Prometheus(server.url).read("churn", 2, 1, BEGAN - 7200, BEGAN + 10)
    assert reading.blocks[0].start == BEGAN - 3600
    assert len(reading.blocks) == 360
    assert reading.missing[0] == (
        "nothing was read of 15:55:30Z to 16:55:30Z: more than 3600 s back"
    )
    ranges = {
        (asked.form["time"], asked.form["query"].rpartition("[")[2]) for asked in server.asked
    }
    assert ranges == {(str(BEGAN - 3600 + n * 600), "616s]") for n in range(1, 7)}


def test_labels_are_quoted() -> None:
    with serving(answering({"resultType": "matrix", "result": []})) as server:
        Prometheus(server.url).read('a"} or up{x="\\', 2, 1, BEGAN, BEGAN + 20)
    assert 'model_name="a\\"} or up{x=\\"\\\\"' in server.asked[0].form["query"]
    assert quoted('a"\\\n') == '"a\\"\\\\\\n"'


def test_a_block_is_complete_by_the_clock_of_prometheus() -> None:
    def behind(handler: Handler, asked: Asked) -> None:
        # 17:56:22, 18 seconds behind.
        handler.date_time_string = lambda timestamp=None: "Sat, 21 Nov 2026 17:56:22 GMT"  # type: ignore[method-assign]
        replay(handler, asked)

    reading = read(behind)
    assert [block.start for block in reading.blocks] == list(range(BEGAN, ENDED - 20, 10))

    def far_behind(handler: Handler, asked: Asked) -> None:
        handler.date_time_string = lambda timestamp=None: "Sat, 21 Nov 2026 17:50:00 GMT"  # type: ignore[method-assign]
        replay(handler, asked)

    assert read(far_behind) == Reading((), ("HERE: its clock is 400 s behind or more",))


# Faults


def no_reply(handler: Handler, asked: Asked) -> None:
    handler.raw(b"")


def cut_off(handler: Handler, asked: Asked) -> None:
    handler.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"status":"success","data":{"resu')


def broken(handler: Handler, asked: Asked) -> None:
    handler.reply("upstream connect error", 503)


def starting(handler: Handler, asked: Asked) -> None:
    handler.reply("Service Unavailable", 503)


def internal(handler: Handler, asked: Asked) -> None:
    body = {"status": "error", "errorType": "internal", "error": "tsdb:\n no space\tleft"}
    handler.reply(json.dumps(body), 500)


def half_hearted(handler: Handler, asked: Asked) -> None:
    handler.reply(answering({"resultType": "matrix", "result": []}), 500)


def moved(handler: Handler, asked: Asked) -> None:
    handler.reply("", 302, Location="http://127.0.0.1:9/")


FAULTS: list[tuple[str, Respond | str, str]] = [
    ("cut off", cut_off, "HERE did not answer: peer closed connection"),
    ("no reply", no_reply, "HERE did not answer: Server disconnected"),
    ("503", broken, "HERE answered with status 503 and no JSON of its API"),
    ("starting", starting, "HERE answered with status 503 and no JSON of its API"),
    ("500", internal, "HERE answered: tsdb: no space left"),
    ("success with 500", half_hearted, "HERE answered: 500"),
    ("redirect", moved, "HERE answered with status 302 and no JSON of its API"),
    ("html", "<html>", "HERE answered with status 200 and no JSON of its API"),
    ("other json", "[1]", "HERE answered with status 200 and no JSON of its API"),
    ("deep json", "[" * 100_000, "HERE answered with status 200 and no JSON of its API"),
    ("no text", "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"), "HERE answered with"),
    ("no data", '{"status":"success"}', "HERE gave no samples that can be read"),
    (
        "vector",
        answering({"resultType": "vector", "result": []}),
        "HERE gave a vector, not samples",
    ),
    ("wrong", answering({"resultType": "matrix", "result": [7]}), "HERE gave no samples that can"),
    ("odd", answering({"resultType": "matrix", "result": [{"metric": {}, "values": [3]}]}), "HERE"),
    ("null", answering({"resultType": "matrix", "result": None}), "HERE gave no samples that can"),
    (
        "in part",
        answering({"resultType": "matrix", "result": []}, warnings=["store\ngone"]),
        "HERE answered in part: ['store\\ngone']",
    ),
    (
        "too many",
        '{"status":"error","errorType":"execution","error":"query processing would load too many '
        'samples into memory in query execution"}',
        "HERE answered: query processing would load too many samples",
    ),
]


@pytest.mark.parametrize(("respond", "line"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_fault_is_a_reading_without_a_block_and_one_line(
    respond: Respond | str, line: str
) -> None:
    reading = read(respond)
    assert reading.blocks == ()
    (said,) = reading.missing
    assert said.startswith(line)
    assert "\n" not in said


def test_one_that_hangs_is_given_up_in_time() -> None:
    server: list[Server] = []
    with serving(hang(server)) as found:
        server.append(found)
        began = time.monotonic()
        reading = Prometheus(found.url, 0.3).read("churn", 2, 1, BEGAN, ENDED)
        assert time.monotonic() - began < 2
    assert reading == Reading((), (f"{found.url} did not answer within 0.3 s",))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n"])
def test_one_that_drips_is_given_up_in_time(head: bytes) -> None:
    def drip(handler: Handler, asked: Asked) -> None:
        handler.raw(head)
        for byte in b"HTTP/1.1 200 OK   " * 4:
            handler.raw(bytes([byte]))
            time.sleep(0.05)

    began = time.monotonic()
    with serving(drip) as server, pytest.raises(NoAnswerError, match=r"within 0\.4 s"):
        exchange(server.url, timeout=0.4)
    assert time.monotonic() - began < 2


def test_nobody_there() -> None:
    with serving("") as server:
        pass
    (line,) = Prometheus(server.url).read("churn", 2, 1, BEGAN, ENDED).missing
    assert line == f"{server.url} did not answer: All connection attempts failed"
    for url in ("http://no.such.host.invalid", "ftp://127.0.0.1", "http://127.0.0.1:99999999"):
        (line,) = Prometheus(url).read("churn", 2, 1, BEGAN, ENDED).missing
        assert line.startswith(f"{url} did not answer: ")


def test_an_answer_without_end_is_cut() -> None:
    with serving("x" * 5000) as server, pytest.raises(NoAnswerError, match="more than 4999 bytes"):
        exchange(server.url, limit=4999)


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert asking(answering({"resultType": "scalar", "result": [1, "4"]}), one) == 4


# Numbers


def one(prometheus: Prometheus) -> float | str:
    return prometheus.number("some_query")


def vector(*values: str) -> str:
    return answering(
        {"resultType": "vector", "result": [{"metric": {}, "value": [1.5, v]} for v in values]}
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (vector("1"), 1.0),
        (answering({"resultType": "scalar", "result": [1795283134.786, "2.5e-3"]}), 0.0025),
        (answering({"resultType": "scalar", "result": [1795283134.786, "NaN"]}), "gives nan"),
        (vector("+Inf"), "gives inf"),
        (vector("-Inf"), "gives -inf"),
        (vector(), "gives nothing"),
        (vector("1", "2"), "gives 2 series, not one"),
        (answering({"resultType": "matrix", "result": []}), "gives a range, not a number"),
        (
            answering({"resultType": "string", "result": [1795283134.873, "a"]}),
            "gives a string, not a number",
        ),
        (vector("x"), "gives no number"),
        (
            answering({"resultType": "vector", "result": [{"histogram": [1, {}]}]}),
            "gives no number",
        ),
        (answering(None), "gives no number"),
        (answering({"resultType": "scalar", "result": [1]}), "gives no number"),
    ],
)
def test_one_finite_number_or_why_not(body: str, expected: float | str) -> None:
    assert asking(body, one) == expected


def test_a_number_of_nobody() -> None:
    said = asking(internal, one)
    assert isinstance(said, str)
    assert said.endswith("answered: tsdb: no space left")


# Other questions


def test_a_query_that_does_not_parse_is_told_as_prometheus_tells_it() -> None:
    def bad(handler: Handler, asked: Asked) -> None:
        assert asked.path == "/api/v1/format_query"
        handler.reply(
            '{"status":"error","errorType":"bad_data","error":"invalid parameter \\"query\\": '
            '1:5: parse error: unclosed left parenthesis"}',
            400,
        )

    check = "1:5: parse error: unclosed left parenthesis"
    assert asking(bad, lambda it: it.check_query("sum(")) == check
    assert asking(answering("sum(up)"), lambda it: it.check_query("sum(up)")) is None
    with pytest.raises(PrometheusError, match="no JSON of its API"):
        asking(broken, lambda it: it.check_query("sum(up)"))
    with pytest.raises(PrometheusError, match="did not answer"):
        Prometheus("http://127.0.0.1:9").check_query("up")


def test_ready_where_a_pod_is_scraped() -> None:
    assert asking(vector("1", "1"), lambda it: it.ready("churn", 2)) is None
    assert asking(vector("1", "1"), lambda it: it.pods("churn", 2)) == 2
    said = asking(vector(), lambda it: it.ready("churn", 9, patience=0))
    assert said.endswith(" scrapes no pod of version 9 of churn")
    assert asking(broken, lambda it: it.ready("churn", 2)).endswith("no JSON of its API")
    assert asking('{"status":"success","data":{"result":[{}]}}', lambda it: it.ready("churn", 2))


def test_replicas_are_those_that_kube_state_metrics_calls_ready() -> None:
    assert asking(vector("3"), lambda it: it.replicas("churn", 2)) == 3
    assert asking(vector(), lambda it: it.replicas("churn", 2)) is None
    with pytest.raises(PrometheusError, match="no JSON of its API"):
        asking(broken, lambda it: it.replicas("churn", 2))


def test_rates_of_the_time_since_the_version_was_first_scraped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: ENDED + 10.5)
    found = asking(replay, lambda it: it.rates("churn", 1, 0.01))
    # The recording begins at 17:55:14, and 17:56:30 is the end of the last complete block.
    assert found.seconds == 70
    assert found.requests == pytest.approx(614 / 70)
    assert (found.errors, found.failures) == (pytest.approx(61 / 614), 0)
    assert found.slow == pytest.approx(392 / 614)


def test_rates_of_requests_that_the_gateway_alone_was_scraped_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the first requests the gateway may be asked before the servers are."""

    def series(name: str, last: int, **labels: str) -> dict[str, Any]:
        times = range(int(ENDED) - 60, int(ENDED) + 10, 5)
        of = {"__name__": name, "model_version": "1", **labels}
        return {"metric": of, "values": [[t, str(last if t > ENDED - 20 else 0)] for t in times]}

    monkeypatch.setattr(time, "time", lambda: ENDED + 10.5)
    arrived = series("envoy_cluster_upstream_rq_completed", 7, pod="gateway")
    for answered, rate in ((0, None), (5, pytest.approx(0.1, rel=0.3))):
        servers = series("model_predictions_total", answered, pod="server")
        known = answering({"resultType": "matrix", "result": [arrived, servers]})
        found = asking(known, lambda it: it.rates("churn", 1, 1.0))
        assert (found and found.requests) == rate


def test_rates_of_nothing() -> None:
    nothing = answering({"resultType": "matrix", "result": []})
    assert asking(nothing, lambda it: it.rates("churn", 1, 1.0)) is None
    with pytest.raises(PrometheusError, match="no space left"):
        asking(internal, lambda it: it.rates("churn", 1, 1.0))
