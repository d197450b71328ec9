"""What a terminal shows of rollouts, and the numbers and words that it shares with the report."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.journal import SetRoles
from rollout.judge.evidence import Counts
from rollout.views import live, summary
from settings.rollout import LATENCY_BOUNDS
from tests.unit import rollout_journals as journals
from tests.unit.rollout_journals import Tape

STATES = {name: made().state() for name, made in journals.ALL.items()}
HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold] \u202eabc\r\n\x9b1m <b>"

buckets = st.lists(st.integers(0, 500), min_size=19, max_size=19)


def shown(what: RenderableType, width: int = 80, **options: object) -> str:
    file = io.StringIO()
    Console(file=file, width=width, **options).print(what)  # type: ignore[arg-type]
    return file.getvalue()


def status(tape: Tape, seconds: float = 7, holder: str | None = "ada@desk", **options: int) -> str:
    return shown(
        live.status({"churn": tape.state()}, tape.at + seconds, {"churn": holder}), **options
    )


def flat(text: str) -> str:
    return " ".join(text.split())


# Quantiles


def test_a_quantile_is_linear_in_its_bucket() -> None:
    row = [0] * 19
    row[LATENCY_BOUNDS.index(0.075)] = 10  # ten requests from 50 to 75 ms
    assert summary.quantile(row, 0.5) == pytest.approx(0.0625)
    row[0] = 10  # and ten below 1 ms
    assert summary.quantile(row, 0.25) == pytest.approx(0.0005)
    assert summary.quantile(row, 0.95) == pytest.approx(0.05 + 0.025 * 0.9)


def test_a_quantile_above_all_bounds_or_of_nothing() -> None:
    assert summary.quantile([0] * 18 + [3], 0.5) == math.inf
    assert summary.latency(math.inf) == "> 10 s"
    assert summary.quantile([0] * 19, 0.95) is None
    assert summary.latency(None) == "-"


@given(buckets, st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_request_of_that_rank(
    row: list[int], share: float
) -> None:
    found = summary.quantile(row, share)
    ranked = np.repeat(np.arange(19), row)
    if not len(ranked):
        assert found is None
        return
    assert found is not None
    index = ranked[max(math.ceil(share * len(ranked) - 1e-9), 1) - 1]
    if index == 18:
        assert found == math.inf
    else:
        low = LATENCY_BOUNDS[index - 1] if index else 0
        assert low <= found <= LATENCY_BOUNDS[index] * (1 + 1e-12)


@given(buckets, st.floats(0.01, 1), st.floats(0.01, 1))
def test_quantiles_rise_with_the_share(row: list[int], one: float, other: float) -> None:
    low, high = (summary.quantile(row, share) for share in sorted((one, other)))
    assert low is None or high is None or low <= high


# Words


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (summary.span(0.2), "0 s"),
        (summary.span(-5), "0 s"),
        (summary.span(59.6), "1 min"),
        (summary.span(72), "1 min 12 s"),
        (summary.span(7500), "2 h 5 min"),
        (summary.span(90000), "1 d 1 h"),
        (summary.percent(0.0052), "0.52 %"),
        (summary.percent(0.123), "12.3 %"),
        (summary.percent(1.0), "100 %"),
        (summary.percent(None), "-"),
        (summary.percent(math.nan), "-"),
        (summary.latency(0.01234), "12.3 ms"),
        (summary.latency(0.9996), "1.00 s"),
        (summary.difference(-0.004, 0.006), "-0.4 to +0.6 points"),
        (summary.difference(-1, 1), "not known yet"),
        (summary.difference(-1, 0.05), "less than +5 points"),
        (summary.difference(0.011, 1), "more than +1.1 points"),
        (summary.name("slow", 0.25), "slow (over 250 ms)"),
        (summary.moment(0), "1970-01-01 00:00:00"),
        (summary.shorten("one two three", 11), "one ..."),
        (summary.shorten("one two", 11), "one two"),
    ],
)
def test_numbers_read_as_people_write_them(found: str, expected: str) -> None:
    assert found == expected


@given(st.text())
def test_cleaned_text_is_one_line_without_control(text: str) -> None:
    cleaned = summary.clean(text)
    assert not {"Cc", "Cf", "Cs", "Co"} & {unicodedata.category(sign) for sign in cleaned}
    assert len(cleaned.splitlines()) <= 1


def test_terminal_codes_are_removed() -> None:
    assert summary.clean("a\x1b[1;31mb\x1b[0m\n c\x1b]0;t\x07d") == "ab cd"
    assert summary.clean("\x9b\u202e") == "\\x9b\\x202e"


# The clocks


def test_the_clocks_of_a_step_of_a_pause_and_of_the_window() -> None:
    tape = Tape()
    tape.step(0, "released")
    clock = summary.clock(tape.state(), tape.at + 20)
    assert (clock.in_step, clock.interval, clock.patience) == (20, 40, 3580)
    tape.write({"kind": "pause", "why": "x", "by": "ada"})
    assert summary.clock(tape.state(), tape.at + 20).patience is None
    promote = SetRoles(Roles(2, None, 0, 1, None))
    tape.decide("promote", "x", promote)
    assert summary.clock(tape.state(), tape.at + 100).warm == 500
    assert "version 1 is kept warm for 8 min 20 s" in status(tape, 100)
    tape.end("promoted")
    assert summary.clock(tape.state(), tape.at) == summary.Clock()


def test_lately_is_the_last_minute_of_evidence() -> None:
    tape = journals.running()
    rollout = tape.state()
    canary, _ = summary.sides(rollout)
    late = rollout.blocks[-12:]
    assert canary.lately == summary.added(block.canary for block in late)
    assert canary.seconds == 60
    assert canary.per_second == canary.lately.requests / 60
    assert canary.total == rollout.totals()[0]


def test_nothing_is_shared_by_nobody() -> None:
    side = summary.Side(Counts(), Counts(), 0)
    assert side.per_second is None
    assert side.rate("errors", 1.0) is None


# The status


@pytest.mark.parametrize("name", journals.ALL)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    rollout = STATES[name]
    for what in (
        live.status({"churn": rollout, "other": None}, rollout.last + 7, {"churn": None}),
        live.history(list(STATES.values())),
    ):
        text = shown(what, width)
        assert max(cell_len(line) for line in text.splitlines()) <= width
        assert text.isascii()
        assert "\x1b" not in text


def test_status_shows_where_a_rollout_stands() -> None:
    tape = journals.running()
    rollout, text = tape.state(), status(tape, holder="ada@desk pid 4711")
    canary, stable = rollout.totals()
    for expected in (
        "churn canary 2 against stable 1 STEPPING",
        "ada@desk pid 4711",
        "5 > [10] > 25 > 50 > 100 > promoted",
        "10 %, step 2 of 5",
        "1 min 42 s in this step",
        f"requests {canary.requests:,} {stable.requests:,}",
        f"errors {summary.percent(canary.errors / canary.requests)}",
        "points, needs < 12",
        summary.latency(summary.quantile(stable.buckets, 0.99)),
        "evidence until 7 s ago",
        *(flat(reason) for reason in rollout.verdicts[-1].reasons),
    ):
        assert expected in flat(text)
    assert "nobody" not in text


def test_nobody_runs_it() -> None:
    assert "nobody runs it: `slipway run churn` goes on" in status(journals.fresh(), holder=None)
    assert "nobody" not in status(journals.promoted(), holder=None)


def test_without_evidence_it_says_so() -> None:
    text = status(journals.fresh())
    assert "no evidence yet" in text
    assert "53 s of its interval left" in flat(text)


def test_a_failing_act_is_loud() -> None:
    tape = journals.fresh()
    tape.write(journal.decide("roll back", "errors", "the gate", [tape.roles(0)]))
    for _ in range(3):
        tape.write(journal.act(0, "begun"))
        tape.write(journal.act(0, "failed", "no route to host"))
    text = status(tape)
    assert "ROLLING BACK" in text
    assert "update to stable 1, canary 2 at 0 %, act 1 of 1" in flat(text)
    assert "FAILED" in text
    assert "3 times: no route to host" in text
    assert "FAILED 3 times: no route to host" in live.line(tape.state(), tape.at)
    colored = io.StringIO()
    console = Console(file=colored, width=80, force_terminal=True, color_system="standard")
    console.print(live.status({"churn": tape.state()}, tape.at, {"churn": "ada"}))
    failed = next(line for line in colored.getvalue().splitlines() if "no route" in line)
    assert "41m" in failed  # on red


def test_a_pause_says_why_and_what_is_missing() -> None:
    tape = journals.fresh()
    tape.traffic(10, missing=["Prometheus at http://p:9090 does not answer"])
    tape.write({"kind": "pause", "why": "changed by hand", "by": "ada", "stop": True})
    text = status(tape)
    assert "STOPPED" in text
    assert "changed by hand" in text
    assert "missing Prometheus at http://p:9090 does not answer" in flat(text)


def test_an_end_says_how_and_why() -> None:
    text = flat(status(journals.rolled_back(), 9999))
    assert "outcome rolled back after 4 min 8 s" in text
    assert "worse by proof" in text
    assert "patience" not in text
    assert "5 > 10 > [25] > 50" in text
    ordered = journals.fresh()
    ordered.decide("roll back", "ordered by ada", ordered.roles(0))
    ordered.end("rolled back")
    assert "why ordered by ada" in flat(status(ordered))


def test_a_model_without_a_rollout_and_no_models() -> None:
    assert flat(shown(live.status({"churn": None}, 0, {}))) == "churn no rollout"
    assert "no models" in shown(live.status({}, 0, {}))
    assert "no rollouts yet" in shown(live.history([]))


def hostile(text: str) -> Tape:
    tape = Tape(by=text, notes=[text])
    tape.step(0, text)
    tape.traffic(10)
    tape.traffic(10, missing=[text])
    tape.write(journal.verdict("hold", [text, text], {}))
    tape.write({"kind": "pause", "why": text, "by": text})
    tape.write(journal.decide("roll back", text, text, [tape.roles(0)]))
    tape.write(journal.act(0, "begun"))
    tape.write(journal.act(0, "failed", text))
    return tape


@effort(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=150))
def test_text_from_outside_steers_nothing(text: str) -> None:
    tape = hostile(text + HOSTILE)
    for output in (
        status(tape, holder=text + HOSTILE),
        shown(live.history([tape.state()])),
    ):
        assert max(cell_len(line) for line in output.splitlines()) <= 80
        assert not {"Cc", "Cf", "Cs"} & {
            unicodedata.category(sign) for sign in output.replace("\n", "")
        }
    assert "[bold]x[/bold]" in "".join(status(tape, holder=HOSTILE).split())
    assert len(live.line(tape.state(), tape.at).splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_question_marks(encoding: str) -> None:
    tape = hostile("über 世界 \u2028")
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=80).print(live.status({"churn": tape.state()}, tape.at, {}))
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert "?ber ??" in text


@pytest.mark.parametrize("made", journals.ALL.values(), ids=journals.ALL)
def test_the_line_is_one_line_with_the_numbers(made: Callable[[], Tape]) -> None:
    rollout = made().state()
    line = live.line(rollout, rollout.last)
    canary, stable = rollout.totals()
    assert line.startswith(f"churn: {rollout.phase}, canary 2 at {rollout.weight} %")
    assert f"canary {canary.requests:,} requests" in line
    assert f"stable {stable.requests:,} requests" in line
    assert len(line) < 700
    assert len(line.splitlines()) == 1


# The history


def test_history_has_a_row_and_a_reason_for_each() -> None:
    rollouts = [STATES["rolled back"], STATES["promoted"]]
    text = flat(shown(live.history(rollouts)))
    for rollout, highest in zip(rollouts, (25, 100), strict=True):
        canary, _ = rollout.totals()
        took = summary.span(rollout.last - rollout.began)
        row = f"2 vs 1 {rollout.phase} {took} {highest} % {canary.requests:,} {canary.errors:,}"
        assert row in text
    assert "worse by proof" in text
    assert text.index("rolled back") < text.index("promoted")
