"""The user's own gates, against servers that answer, refuse, stumble or say nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rollout import journal
from rollout.adapters import checks
from rollout.adapters.checks import (
    Context,
    GateAnswer,
    compare,
    filled,
    log_wealth,
    open_gates,
    opinions,
)
from rollout.adapters.configuration import Roles
from rollout.adapters.exchange import NoAnswerError, exchange
from rollout.adapters.prometheus import Prometheus
from settings.rollout import Gate, Predictions, Rollout
from tests.unit.rollout_server import Asked, Handler, Respond, Server, hang, serving

CONTEXT = Context("churn", 2, 1, 1, 10, "step")
LAST = Context("churn", 2, 1, 4, 100, "promotion")
NOBODY = Prometheus("http://127.0.0.1:9", 1)
OPEN, CLOSED, SILENT = "open", "closed", "silent"


def number(value: str) -> str:
    data = {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}
    return json.dumps({"status": "success", "data": data})


def query(respond: Respond | str, **bounds: Any) -> GateAnswer:
    gate = Gate.model_validate({"name": "errors", "promql": "some_query", **bounds})
    with serving(respond) as server:
        (found,) = open_gates([gate], CONTEXT, Prometheus(server.url), set())
    return found


# Queries


@pytest.mark.parametrize(
    ("value", "bounds", "state", "line"),
    [
        ("3", {"max": 3}, OPEN, "3 is within bounds"),
        ("3.1", {"max": 3}, CLOSED, "3.1 is more than 3"),
        ("-3", {"min": -3}, OPEN, "-3 is within bounds"),
        ("-3.1", {"min": -3}, CLOSED, "-3.1 is less than -3"),
        ("2", {"min": 1, "max": 3}, OPEN, "2 is within bounds"),
        ("NaN", {"max": 3}, SILENT, "its query gives nan"),
        ("-Inf", {"max": 3}, SILENT, "its query gives -inf"),
    ],
)
def test_a_query_opens_within_its_bounds(
    value: str, bounds: dict[str, float], state: str, line: str
) -> None:
    found = query(number(value), **bounds)
    assert (found.name, found.state, found.line) == ("errors", state, f"gate errors: {line}")
    assert found.then == "hold"


def test_what_follows_is_as_configured() -> None:
    assert query(number("9"), max=3, then="roll back").then == "roll back"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ({"resultType": "vector", "result": []}, "its query gives nothing"),
        ({"resultType": "matrix", "result": []}, "its query gives a range, not a number"),
    ],
)
def test_a_query_that_gives_no_number_is_silent(result: object, line: str) -> None:
    found = query(json.dumps({"status": "success", "data": result}), max=1)
    assert (found.state, found.line) == (SILENT, f"gate errors: {line}")


def test_a_prometheus_that_does_not_answer_is_silent() -> None:
    gate = Gate(name="errors", promql="up", min=1.0)
    (found,) = open_gates([gate], CONTEXT, NOBODY, set())
    assert found.state == SILENT
    assert found.line.startswith("gate errors: http://127.0.0.1:9 did not answer: ")


def test_placeholders() -> None:
    given = (
        'sum(rate(x{m="$model",v=~"$canary|$stable",n="$namespace",p=~"a$",q="$models"}[1m])) '
        '/ sum(y{v="$canary"})'
    )
    assert filled(given, "churn", 12, 3) == (
        'sum(rate(x{m="churn",v=~"12|3",n="models",p=~"a$",q="$models"}[1m])) / sum(y{v="12"})'
    )
    assert filled('{m="$model"}', 'a"} or {b="\\', 2, 1) == '{m="a\\"} or {b=\\"\\\\"}'


def test_the_query_asked_is_the_filled_one() -> None:
    gate = Gate(name="g", promql='x{model_version="$canary"}', max=1.0)
    with serving(number("0")) as server:
        open_gates([gate], CONTEXT, Prometheus(server.url), set())
    assert [asked.form["query"] for asked in server.asked] == ['x{model_version="2"}']


# Webhooks


def webhook(respond: Respond | str, context: Context = CONTEXT) -> tuple[GateAnswer, list[Asked]]:
    """Its address is told as HERE."""
    with serving(respond) as server:
        gate = Gate(name="freeze", webhook=f"{server.url}/hook")
        (found,) = open_gates([gate], context, NOBODY, set())
    line = found.line.replace(server.url, "HERE")
    return GateAnswer(found.name, found.state, line, found.then), server.asked


def status(code: int, body: str = "") -> Respond:
    def respond(handler: Handler, asked: Asked) -> None:
        handler.reply(body, code, Location="http://127.0.0.1:9/")

    return respond


@pytest.mark.parametrize(
    ("code", "body", "state", "line"),
    [
        (200, "", OPEN, "agrees"),
        (204, "", OPEN, "agrees"),
        (200, '{"open": true}', OPEN, "agrees"),
        (200, '{"open": "false"}', OPEN, "agrees"),
        (200, "no", OPEN, "agrees"),
        (200, "[" * 60_000, OPEN, "agrees"),
        (200, '{"open": false}', CLOSED, "refuses"),
        (
            200,
            '{"open": false, "reason": "a freeze\\nuntil 9"}',
            CLOSED,
            "refuses: a freeze until 9",
        ),
        (202, '{"open": false, "reason": null}', CLOSED, "refuses"),
        (403, "", CLOSED, "answered with status 403"),
        (409, "", CLOSED, "answered with status 409"),
        (404, "", SILENT, "answered with status 404"),
        (429, "", SILENT, "answered with status 429"),
        (302, "", SILENT, "answered with status 302"),
        (500, "", SILENT, "answered with status 500"),
        (503, '{"open": true}', SILENT, "answered with status 503"),
    ],
)
def test_what_a_webhook_says(code: int, body: str, state: str, line: str) -> None:
    found, asked = webhook(status(code, body))
    assert (found.state, found.line) == (state, f"gate freeze: HERE {line}")
    assert len(asked) == 1


def test_what_a_webhook_is_told() -> None:
    _, (asked,) = webhook("", LAST)
    assert asked.path == "/hook"
    assert json.loads(asked.body) == {
        "model": "churn",
        "canary": 2,
        "stable": 1,
        "step": 4,
        "weight": 100,
        "before": "promotion",
    }


def test_a_webhook_that_hangs_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.WEBHOOK_SECONDS == 5
    monkeypatch.setattr(checks, "WEBHOOK_SECONDS", 0.2)
    servers: list[Server] = []
    with serving(hang(servers)) as server:
        servers.append(server)
        gate = Gate(name="freeze", webhook=server.url)
        (found,) = open_gates([gate], CONTEXT, NOBODY, set())
    assert (found.state, found.line) == (
        SILENT,
        f"gate freeze: {server.url} did not answer within 0.2 s",
    )


def test_a_webhook_that_is_not_there_or_cut_off_is_silent() -> None:
    cut = webhook(lambda handler, _: handler.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"))
    assert cut[0].state == SILENT
    (gone,) = open_gates([Gate(name="x", webhook="http://127.0.0.1:9/")], CONTEXT, NOBODY, set())
    assert gone.state == SILENT


# Approvals, and when a gate is asked


def test_an_approval_is_for_one_gate_and_one_step() -> None:
    gate = Gate(name="sign-off", approval=True)

    def asked(*approvals: tuple[str, int]) -> GateAnswer:
        (found,) = open_gates([gate], CONTEXT, NOBODY, set(approvals))
        return found

    assert asked(("sign-off", 1)).state == OPEN
    assert asked(("sign-off", 0), ("other", 1)).state == CLOSED
    assert asked().line == ("gate sign-off: waits for a person: slipway approve churn sign-off")
    assert asked().then == "hold"


def test_some_gates_are_asked_before_promotion_alone() -> None:
    gates = [
        Gate(name="always", approval=True),
        Gate(name="late", approval=True, before="promotion"),
    ]
    assert [one.name for one in open_gates(gates, CONTEXT, NOBODY, set())] == ["always"]
    assert [one.name for one in open_gates(gates, LAST, NOBODY, set())] == ["always", "late"]


# Predictions


def comparer(trials: object, hits: object, psi: object, unanswered: object = None) -> str:
    values = {
        "comparisons": trials,
        "disagreements": hits,
        "psi": psi,
        "unanswered": unanswered,
    }
    result = [
        {"metric": {"is": key}, "value": [1, str(value)]}
        for key, value in values.items()
        if value is not None
    ]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def compared(trials: object, hits: object, psi: object, **wanted: float) -> GateAnswer:
    with serving(comparer(trials, hits, psi)) as server:
        return compare(Predictions(**wanted), CONTEXT, Prometheus(server.url))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trials", "hits", "psi", "state"),
    [
        (500, 20, 0.01, OPEN),  # an estimate below, after 500
        (499, 20, 0.01, SILENT),
        (200, 0, 0.01, OPEN),  # proven below
        (199, 0, 0.01, SILENT),  # proven, but before the index tells anything
        (200, 25, 0.01, CLOSED),  # proven above
        (30, 15, "NaN", CLOSED),
        (2000, 105, 0.01, SILENT),  # above, but not surely
        (200, 0, 0.2001, SILENT),
        (2000, 0, 0.2001, CLOSED),
        (199, 0, 9, SILENT),
        (200, 0, 0.2, OPEN),
        (500, 0, "NaN", SILENT),
        (500, 0, None, SILENT),
        (0, 0, "NaN", SILENT),
        (None, None, None, SILENT),
        (None, 3, 0.1, SILENT),
        (10, 11, 0.1, SILENT),
        ("NaN", 1, 0.1, SILENT),
        ("+Inf", 1, 0.1, SILENT),
        (500, -1, 0.1, SILENT),
    ],
)
def test_predictions(trials: object, hits: object, psi: object, state: str) -> None:
    found = compared(trials, hits, psi)
    assert (found.name, found.state) == ("predictions", state)
    assert found.then == "roll back"


def test_what_is_said_of_predictions() -> None:
    assert compared(200, 25, 0.01).line == (
        "predictions: 25 of 200 predictions differ, which is surely more than 0.05"
    )
    assert compared(2500, 20, 0.314).line == (
        "predictions: the population stability index 0.314 is over 0.2"
    )
    assert compared(100, 4, 0.1).line == (
        "predictions: 4 of 100 predictions differ: not known yet on which side of 0.05"
    )


def test_what_the_canary_does_not_answer_is_a_difference() -> None:
    with serving(comparer(600, 0, 0.01, 600)) as server:
        found = compare(Predictions(), CONTEXT, Prometheus(server.url))
    assert (found.state, found.line) == (
        CLOSED,
        "predictions: 600 of 1200 predictions differ, 600 of them for want of an answer, which is "
        "surely more than 0.05",
    )


def test_a_name_that_takes_too_long_to_look_up_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(*_: object, **__: object) -> list[object]:
        time.sleep(3)
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    start = time.monotonic()
    with pytest.raises(NoAnswerError, match="did not answer within"):
        exchange("http://gate.example/secret", body={}, timeout=0.3)
    assert time.monotonic() - start < 2


def test_every_disagreement_may_be_allowed() -> None:
    assert compared(10**6, 10**6, 0.1, max_disagreement=1.0).state == OPEN
    assert compared(500, 500, 0.1, max_disagreement=1.0).state == OPEN
    assert compared(500, 500, 0.1, max_disagreement=0.9).state == CLOSED


def test_comparisons_are_asked_of_both_versions() -> None:
    with serving(comparer(500, 5, 0.1)) as server:
        compare(Predictions(), CONTEXT, Prometheus(server.url))
    (asked,) = server.asked
    of = '{model_name="churn",model_version="2",against="1"}'
    for part in ("sum(model_comparisons_total", "sum(model_disagreements_total",
                 "max(model_prediction_psi"):  # fmt: skip
        assert part + of in asked.form["query"]
    silent = compare(Predictions(), CONTEXT, NOBODY)
    assert (silent.state, silent.line[:30]) == (SILENT, "predictions: http://127.0.0.1:")


@pytest.mark.parametrize(
    ("share", "above"), [(0.05, True), (0.05, False), (0.5, True), (0.9, False)]
)
def test_proof_is_rarely_false_however_often_one_looks(share: float, above: bool) -> None:
    random = np.random.default_rng(3)
    false = 0
    for _ in range(400):
        hits = np.cumsum(random.random(1500) < share)
        looks = range(9, 1500, 30)
        wealth = [log_wealth(hits[n], n + 1, share, above) for n in looks]
        false += max(wealth) >= math.log(1 / checks.ALPHA)
    # 4 are expected at most; 12 or more come by chance once in a thousand.
    assert false < 12


@pytest.mark.parametrize(("share", "truth", "enough"), [(0.05, 0.1, 600), (0.05, 0.02, 1200)])
def test_proof_comes_where_the_share_is_another(share: float, truth: float, enough: int) -> None:
    wealth = log_wealth(truth * enough, enough, share, above=truth > share)
    assert wealth >= math.log(1 / checks.ALPHA)
    assert log_wealth(truth * enough, enough, share, above=truth < share) < 0


# All gates of a rollout


def rollout(step: int = 1, *entries: dict[str, Any], **rules: Any) -> journal.Rollout:
    wanted = Rollout.model_validate({"steps": [5, 50, 100], **rules})
    begun = journal.begin(
        id="r", model="churn", canary=2, rules=wanted, before=Roles(1, None, 0, None, None),
        champion=1, by="ada", notes=(),
    )  # fmt: skip
    found: list[journal.Rollout] = []
    for number, entry in enumerate([begun, *entries]):
        journal.extend(found, {**entry, "seq": number, "at": 1_700_000_000.0 + number})
    found[0].step = step
    return found[0]


GATES: list[dict[str, Any]] = [
    {"name": "watch", "promql": "x", "max": 1, "then": "roll back"},
    {"name": "bound", "promql": "x", "max": 1},
    {"name": "sign-off", "approval": True},
    {"name": "late", "approval": True, "before": "promotion"},
]


def said(value: str, advancing: bool, one: journal.Rollout) -> dict[str, str]:
    with serving(number(value)) as server:
        found: Sequence[GateAnswer] = opinions(one, Prometheus(server.url), advancing)
    return {answer.name: answer.state for answer in found}


def test_all_gates_are_asked_before_a_step() -> None:
    expected = {"watch": OPEN, "bound": OPEN, "sign-off": CLOSED}
    assert said("0", True, rollout(gates=GATES)) == expected
    assert said("0", True, rollout(2, gates=GATES)) == {**expected, "late": CLOSED}


def test_a_step_approved_is_open() -> None:
    approved = {"kind": "approve", "gate": "sign-off", "step": 1, "by": "ada"}
    assert said("0", True, rollout(1, approved, gates=GATES))["sign-off"] == OPEN
    assert said("0", True, rollout(2, approved, gates=GATES))["sign-off"] == CLOSED


def test_while_it_would_not_advance_only_refusals_are_heard() -> None:
    pause = {"kind": "pause", "why": "lunch", "by": "ada"}
    for one, advancing in ((rollout(gates=GATES), False), (rollout(1, pause, gates=GATES), True)):
        assert said("9", advancing, one) == {"watch": CLOSED}
        assert said("0", advancing, one) == {}
        assert said("NaN", advancing, one) == {}
    promoted = rollout(2, gates=GATES)
    promoted.promoted = 1_700_000_100.0
    assert said("9", True, promoted) == {"watch": CLOSED}


def test_a_webhook_is_asked_before_a_step_alone() -> None:
    with serving("") as server:
        gates = [{"name": "freeze", "webhook": server.url, "then": "roll back"}]
        one = rollout(gates=gates)
        assert opinions(one, NOBODY, False) == []
        assert not server.asked
        assert [answer.state for answer in opinions(one, NOBODY, True)] == [OPEN]
        assert len(server.asked) == 1


def test_predictions_are_asked_at_every_look() -> None:
    one = rollout(predictions={"percent": 10})
    for hits, advancing, states in (
        (400, False, [CLOSED]), (0, False, []), (0, True, [OPEN]), (400, True, [CLOSED]),
    ):  # fmt: skip
        with serving(comparer(500, hits, 0.1)) as server:
            found = opinions(one, Prometheus(server.url), advancing)
        assert [answer.state for answer in found] == states
