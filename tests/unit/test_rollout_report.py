"""The report of a rollout: one file, safe, whole, the same every time, and true."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import binomtest

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.journal import JournalError
from rollout.judge.evidence import METRICS
from rollout.judge.gate import Gate
from rollout.judge.rules import Rules
from rollout.views import panels, plots, report, summary, timeline
from rollout.views.series import MOST_BINS, VERSIONS, Series, series, wilson
from tests.unit import rollout_journals as journals
from tests.unit.rollout_journals import Tape

ROOT = Path(__file__).resolve().parents[2]
TAPES = {name: made() for name, made in journals.ALL.items()}
EVIL = (
    "</script><script>alert(1)</script>",
    "\"><img src=https://evil.example/x onerror='alert(1)'>",
    "</style><svg onload=alert(1)> & &lt;b&gt; $\\frac{1}{2}$ ]]> <!-- {} %s",
    "\x1b[31m\u202e\x00\ud800",
)
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and the text that a person reads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.read: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.read).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.read.append(data)


def html(tape: Tape, seconds: float = 7) -> str:
    return report.html(tape.state(), tape.at + seconds, tape.entries)


def drawn(tape: Tape) -> Series:
    data = series(tape.state(), tape.at)
    assert data is not None
    return data


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: html(tape) for name, tape in TAPES.items()}


# One file, safe and whole


@pytest.mark.parametrize("name", journals.ALL)
def test_the_page_needs_nothing_but_itself(name: str, pages: dict[str, str]) -> None:
    text = pages[name]
    page = Page(text)
    assert not page.open
    assert page.tags["html"] == page.tags["h1"] == page.tags["main"] == 1
    assert not {"script", "link", "img", "image", "iframe", "object", "a", "base"} & set(page.tags)
    for tag, attribute, value in page.attributes:
        assert not attribute.startswith("on"), (tag, attribute)
        assert attribute not in ("src", "srcset", "data", "action", "xlink:href")
        assert attribute != "href" or (tag == "use" and value.startswith("#"))
        assert "http" not in value
    assert not re.findall(r"url\((?!#)|@import|javascript:", text)
    assert page.attributes.count(("meta", "http-equiv", "Content-Security-Policy")) == 1
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", journals.ALL)
def test_ids_are_given_once_and_every_color_is_defined(name: str, pages: dict[str, str]) -> None:
    page = Page(pages[name])
    ids = [value for _, attribute, value in page.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for tag, attribute, value in page.attributes if attribute == "href"}
    clips = set(re.findall(r"url\(#([^)]*)\)", pages[name]))
    assert used | clips <= set(ids)
    for palette in (plots.LIGHT, plots.DARK):
        for key, color in palette.items():
            assert f"--{key}: {color};" in pages[name]
    assert set(re.findall(r"var\(--(\w+)\)", pages[name])) <= {*plots.LIGHT, "tone"}
    assert "prefers-color-scheme: dark" in pages[name]


def evil(text: str) -> Tape:
    tape = Tape(model=text, by=text, notes=[text])
    tape.entries[0]["rules"]["gates"] = [
        {"name": "owner", "promql": f"up{{x='{text.strip()}'}}".replace("\x00", ""), "max": 1.0}
    ]
    tape.step(0, text, by=text)
    tape.traffic(20)
    tape.traffic(10, missing=[text])
    tape.write(journal.verdict("hold", [text, text], {}))
    tape.write({"kind": "pause", "why": text, "by": text})
    tape.write({"kind": "approve", "gate": text, "step": 0, "by": text})
    roles = journal.plain_roles(tape.roles(5).roles)
    tape.write({"kind": "change", "roles": roles, "then": "go on", "by": text})
    tape.decide("roll back", text, tape.roles(0), by=text, failures=1, error=text)
    tape.end("rolled back")
    return tape


@pytest.mark.parametrize("text", EVIL)
def test_text_from_outside_stays_text(text: str, pages: dict[str, str]) -> None:
    page = Page(html(evil(text)))
    assert set(page.tags) <= set(Page(pages["rolled back"]).tags)
    assert not page.open
    assert all(not attribute.startswith("on") for _, attribute, _ in page.attributes)
    shown = " ".join(summary.clean(text).split())
    # The model in title, headline and facts; the others once or more each.
    assert page.text.count(shown) >= 15
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", page.text)


def test_the_picture_is_well_formed_and_says_what_it_is(pages: dict[str, str]) -> None:
    found = re.search(r"<svg.*</svg>", pages["promoted"], re.DOTALL)
    assert found
    picture = ElementTree.fromstring(found.group())
    assert picture.get("role") == "img"
    labels = {each.get("id"): each.text for each in picture if each.tag in ("title", "desc")}
    for named in str(picture.get("aria-labelledby")).split():
        assert labels[named]
    assert not re.findall(r"#0a[0-9a-f]{2}fe", found.group())


def test_the_same_rollout_gives_the_same_bytes(pages: dict[str, str], tmp_path: Path) -> None:
    assert html(journals.rolled_back()) == pages["rolled back"]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.unit import rollout_journals as j, test_rollout_report as t\n"
        "from pathlib import Path; Path(sys.argv[2]).write_text(t.html(j.rolled_back()))\n"
    )
    file = tmp_path / "report.html"
    subprocess.run(
        [sys.executable, "-c", script, str(ROOT), str(file)],
        check=True,
        timeout=120,
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin"},
    )
    assert file.read_text() == pages["rolled back"]


def test_a_long_rollout_is_drawn_small_and_soon() -> None:
    tape = journals.promoted(least=2000)
    assert tape.at - journals.START > 3 * 3600 - 600
    rollout, began = tape.state(), time.process_time()
    text = report.html(rollout, tape.at, tape.entries)
    assert time.process_time() - began < 15
    assert len(text.encode()) < 1_500_000
    assert "A point stands for 1 min." in text


# What it says


@pytest.mark.parametrize("name", journals.ALL)
def test_every_verdict_decision_and_act_is_told(name: str, pages: dict[str, str]) -> None:
    tape, text = TAPES[name], Page(pages[name]).text
    before = ""
    for entry in tape.entries:
        if entry["kind"] == "verdict" and entry["verdict"] != before:
            before = entry["verdict"]
            assert f"verdict: {before}" in text
            for reason in entry["reasons"]:
                assert reason in text
    rollout = tape.state()
    for decision in rollout.decisions:
        for act in decision.acts:
            assert str(act) in text
    for kind in {judged.kind for judged in rollout.verdicts}:
        assert kind in panels.TONES


def test_the_headline_and_facts(pages: dict[str, str]) -> None:
    text = Page(pages["rolled back"]).text
    assert "churn version 2: rolled back after 4 min 8 s, at most 25 % of requests" in text
    assert "Weight 0 % reached 24 s later" in text
    assert "begun: canary 2 against stable 1" in text
    assert text.count("FAILED after 8 s: cluster API") == 2
    assert "max_error_rate 0.05" in text
    assert "promoted after" in Page(pages["promoted"]).text
    assert "Stable from 8 s later" in Page(pages["promoted"]).text
    assert "for want of evidence" in Page(pages["starved"]).text


def test_a_rollout_without_evidence_says_so(pages: dict[str, str]) -> None:
    page = Page(pages["fresh"])
    assert "There is no evidence" in page.text
    assert page.tags["svg"] == 0
    assert "update to stable 1, canary 2 at 5 %" in page.text
    just_begun = Tape()
    assert "There is no evidence" in html(just_begun)


@pytest.mark.parametrize("name", ["promoted", "rolled back", "starved", "running"])
def test_the_steps_of_the_table_add_up(name: str, pages: dict[str, str]) -> None:
    totals = TAPES[name].state().totals()
    for version, total in zip(("canary 2", "stable 1"), totals, strict=True):
        rows = re.findall(rf'<td>{version}</td><td class="n">([\d,]+)</td>', pages[name])
        assert sum(int(row.replace(",", "")) for row in rows) == total.requests


def test_rows_of_the_table_hold_their_own_step(pages: dict[str, str]) -> None:
    tape = TAPES["rolled back"]
    rollout = tape.state()
    began = rollout.entered[2][0]
    late = summary.added(block.canary for block in rollout.blocks if block.start >= began)
    row = f'<td class="n">{late.requests:,}</td><td class="n">'
    row += summary.percent(late.errors / late.requests)
    assert row in pages["rolled back"]


# The timeline


def test_the_timeline_tells_kills_gaps_and_orders() -> None:
    tape = journals.running()
    tape.write(journal.decide("step", "more", "ada", [tape.roles(25)], 2))
    tape.write(journal.act(0, "begun"))
    tape.at += 60
    tape.write(journal.act(0, "begun"))
    tape.at += 9
    tape.write(journal.act(0, "done"))
    tape.traffic(5, missing=["no scrape"])
    tape.traffic(5)
    tape.write(journal.decide("roll back", "bad", "ada", [tape.roles(0)]))
    tape.write(journal.act(0, "begun"))
    told = timeline.events(tape.entries, "churn-2-1")
    assert [event.at for event in told] == sorted(event.at for event in told)
    lines = [(event.what, *event.lines) for event in told if event.kind != "verdict"]
    unknown = "begun; what came of it is not known"
    acted = "update to stable 1, canary 2 at 25 %"
    for line in (
        ("paused", "ordered by grace@desk"),
        ("resumed",),
        ("gate owner approved", "for step 1"),
        (acted, unknown),
        (acted, "done after 9 s"),
        ("evidence is missing", "no scrape"),
        ("evidence is complete again",),
    ):
        assert lines.count(line) == 1
    assert lines[-1] == ("update to stable 1, canary 2 at 0 %", unknown)
    numbers = [event.number for event in told if event.kind == "decision"]
    assert numbers == [1, 2, 3, 4]


def test_the_timeline_passes_other_rollouts_over() -> None:
    one, other = journals.rolled_back(), journals.fresh(canary=3, start=journals.START + 9999)
    both = one.entries + other.entries
    assert timeline.events(both, "churn-2-1") == timeline.events(one.entries, "churn-2-1")
    assert timeline.events(both, "churn-3-1") == timeline.events(other.entries, "churn-3-1")
    assert timeline.events(both, "none") == []


def test_the_timeline_of_a_torn_journal_is_refused() -> None:
    tape = journals.fresh()
    tape.entries[2]["index"] = 7
    with pytest.raises(JournalError, match="entry 3"):
        html(tape)


# The numbers drawn


def test_wilson_is_scipys() -> None:
    hits, trials = np.array([0, 1, 5, 50, 10]), np.array([9, 10, 900, 50, 400])
    low, high = wilson(hits, trials)
    for index, (hit, trial) in enumerate(zip(hits, trials, strict=True)):
        expected = binomtest(int(hit), int(trial)).proportion_ci(method="wilson")
        assert (low[index], high[index]) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert np.isnan(wilson(np.array([0]), np.array([0]))).all()


@pytest.mark.parametrize("name", ["promoted", "rolled back", "starved", "running"])
def test_bins_lose_no_request(name: str) -> None:
    tape = TAPES[name]
    data, rollout = drawn(tape), tape.state()
    for version, total in zip(VERSIONS, rollout.totals(), strict=True):
        covered = np.zeros(len(data.middles))
        for block in rollout.blocks:
            covered[int((block.start + 2.5 - data.start) / data.width)] += 5
        assert np.nansum(data.per_second[version] * covered) == pytest.approx(total.requests)
        for metric in METRICS:
            hits, trials = total.tally(metric, 1.0)
            assert data.shares[metric][version].so_far[-1] == pytest.approx(hits / trials)


def test_bands_are_what_the_gate_knew() -> None:
    tape = TAPES["rolled back"]
    data, rollout = drawn(tape), tape.state()
    gate = Gate(Rules.of(rollout.rules))
    for block in rollout.blocks:
        gate.observe_block(block, rollout.step_at(block.start))
    for index, metric in enumerate(METRICS):
        band = data.bands[metric]
        last = np.nonzero(~np.isnan(band.low))[0][-1]
        assert (band.low[last], band.high[last]) == gate.bounds(0, index)
    judged = rollout.verdicts[-1].details["estimates"][0]
    errors = data.bands["errors"]
    assert np.nanmax(errors.low) == judged["lower"] > Rules.of(rollout.rules).tolerance
    assert {round(float(each), 6) for each in errors.needed if each > 0} == {0.3, 0.12, 0.06}


def test_a_stretch_without_evidence_is_a_gap() -> None:
    tape = TAPES["starved"]
    rollout = tape.state()
    missing = [e["at"] for e in tape.entries if e["kind"] == "evidence" and e["missing"]]
    gaps = drawn(tape).gaps
    assert (missing[0] - 5, missing[-1]) in gaps
    for block in rollout.blocks:
        assert not any(before <= block.start < after for before, after in gaps)
    assert drawn(TAPES["running"]).gaps == ()


EDGES = {
    "blue-green": {"steps": [100]},
    "one step": {"steps": [50]},
    "tight": {"max_regression": 0.0001, "max_error_rate": 0.0001, "max_p95": "1ms"},
    "loose": {"max_regression": 1.0, "max_error_rate": 1.0, "max_p95": "10s"},
}


@pytest.mark.parametrize("rules", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("per_second", [0.0, 0.3, 3000.0])
@pytest.mark.parametrize("seconds", [5, 60])
def test_any_rules_and_traffic_are_drawn(
    rules: dict[str, object], per_second: float, seconds: int
) -> None:
    tape = Tape(rules=rules)
    tape.step(0, "released")
    tape.traffic(seconds, per_second=per_second, errors=(0.9, 0.0), slower=(400.0, 0.001))
    tape.decide("promote", "ordered", journal.SetRoles(Roles(2, None, 0, 1, None)))
    tape.traffic(5, per_second=per_second)
    page = Page(html(tape, seconds=86400.0 * (seconds > 5)))
    assert page.tags["svg"] == 1
    assert "nan" not in page.text.lower()


def test_a_rollout_of_weeks_keeps_few_points_and_ticks() -> None:
    tape = Tape()
    tape.step(0, "released")
    tape.traffic(30)
    tape.at += 40 * 86400
    tape.traffic(30)
    data = drawn(tape)
    assert len(data.middles) <= MOST_BINS
    assert len(data.gaps) == 1
    figure = panels.figure(tape.state(), data, plots.LIGHT)
    assert 2 <= len(figure.axes[-1].get_xticks()) <= 12


def test_marks_of_decisions_that_are_close_are_joined() -> None:
    tape = journals.running()
    for step in (2, 3, 4):
        tape.step(step, "ordered", by="ada", seconds=0.1)
    figure = panels.figure(tape.state(), drawn(tape), plots.LIGHT)
    marks = [text.get_text() for text in figure.axes[0].texts]
    assert marks == ["1", "2", "3-5"]


def test_a_verdict_is_one_bar_as_long_as_it_stands() -> None:
    tape = TAPES["promoted"]
    rollout = tape.state()
    figure = panels.figure(rollout, drawn(tape), plots.LIGHT)
    bars = figure.axes[1].patches
    told = [event for event in timeline.events(tape.entries, rollout.id) if event.kind == "verdict"]
    assert len(rollout.verdicts) > len(told)
    assert [bar.get_x() for bar in bars] == [event.at - rollout.began for event in told]  # type: ignore[attr-defined]
