"""A rollout as one HTML file, for the colleague who was not there.

The file needs nothing but itself: no script, no font, no picture from elsewhere, and a policy of
its own that would forbid them. Everything from outside is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, Final

from rollout.journal import Entry, Rollout
from rollout.judge.evidence import METRICS, Block, added
from rollout.views import panels, plots, summary, timeline
from rollout.views.series import series
from rollout.views.summary import between, clean, latency, percent, quantile, span
from rollout.views.timeline import Event

_STYLE: Final = """
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
p { max-width: 60rem; margin: .5rem 0 }
.why { border-left: .3rem solid var(--tone); margin: .8rem 0; padding: .1rem 0 .1rem .9rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .88rem }
th, td { border-bottom: 1px solid var(--grid); padding: .3rem .9rem .3rem 0; text-align: left;
  vertical-align: top; overflow-wrap: break-word }
thead th { color: var(--muted); font-weight: 600; white-space: nowrap }
.n, time { font-variant-numeric: tabular-nums; white-space: nowrap }
.n { text-align: right }
.what { min-width: 15rem } .lines { min-width: 18rem; max-width: 36rem } .by { max-width: 12rem }
.tone { border-left: .25rem solid var(--tone); padding-left: .6rem }
.bad { --tone: var(--bad) } .good { --tone: var(--good) } .wait { --tone: var(--wait) }
.unknown { --tone: var(--unknown) } .none { --tone: transparent }
svg { display: block; width: 100%; min-width: 46rem; height: auto }
svg * { stroke-linejoin: round; stroke-linecap: butt }
figure { margin: 0 } figcaption, footer { color: var(--muted); font-size: .85rem }
"""
_ENDS: Final = {"promoted": "good", "rolled back": "bad", "superseded": "wait"}
_KINDS: Final = {"failure": "bad", "change": "wait", "gap": "unknown"}


def html(rollout: Rollout, now: float, entries: Iterable[Entry]) -> str:
    """The page, a whole HTML document.

    `now`: seconds since 1970. `entries`: the journal that the rollout was read from, for what the
    state does not keep: acts, pauses, changes by hand; other rollouts' entries may be among them.
    The same arguments give the same text.
    """
    tone = _ENDS.get(rollout.phase, "unknown")
    events = timeline.events(entries, rollout.id)
    title = _headline(rollout, now)
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>\n<style>{_colors()}{_STYLE}</style>\n</head>\n<body>\n<main>",
            f"<h1>{title}</h1>",
            f'<div class="why {tone}">{_why(rollout)}</div>',
            _section("Facts", _pairs(_facts(rollout, now))),
            _section("Step by step", _steps(rollout, now)),
            _section("Over time", _picture(rollout, now)),
            _section("What happened", _timeline(events, rollout.began)),
            _section("Rules it went by", _pairs(_rules(rollout))),
            f"</main>\n<footer><p>As of {_time(now)} UTC. All times are UTC.</p></footer>",
            "</body>\n</html>\n",
        )
    )


def _text(value: object) -> str:
    return escape(clean(value))


def _time(at: float) -> str:
    shown = summary.moment(at)
    return f'<time datetime="{shown.replace(" ", "T")}Z">{shown}</time>'


def _colors() -> str:
    light, dark = (
        " ".join(f"--{key}: {color};" for key, color in palette.items())
        for palette in (plots.LIGHT, plots.DARK)
    )
    return f"\n:root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>"


def _table(heads: Sequence[str], rows: Iterable[str], label: str) -> str:
    """`rows` are whole; a head that ends with `#` is one of numbers."""
    cells = "".join(
        f'<th scope="col"{" class=n" if head.endswith("#") else ""}>{head.rstrip("#")}</th>'
        for head in heads
    )
    return (
        f'<div class="wide"><table aria-label="{label}">\n<thead><tr>{cells}</tr></thead>\n'
        "<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """A table of names and values, both HTML already."""
    rows = (f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in pairs)
    return '<div class="wide"><table>\n' + "\n".join(rows) + "\n</table></div>"


def _headline(rollout: Rollout, now: float) -> str:
    took = span(summary.duration(rollout, now))
    what = f"{rollout.outcome} after {took}" if rollout.outcome else f"{rollout.phase}, for {took}"
    at_most = f"at most {summary.highest(rollout)} % of requests"
    return f"{_text(rollout.model)} version {rollout.canary}: {what}, {at_most}"


def _why(rollout: Rollout) -> str:
    lines = summary.reasons(rollout) or ("The gate has not said anything yet.",)
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _facts(rollout: Rollout, now: float) -> Iterator[tuple[str, str]]:
    canary, stable = rollout.totals()
    yield "Model", _text(rollout.model)
    yield "Versions", f"canary {rollout.canary} against stable {rollout.stable}"
    yield "Rollout", _text(rollout.id)
    yield "Begun", f"{_time(rollout.began)} by {_text(rollout.by)}"
    if rollout.ended is not None:
        yield "Ended", f"{_time(rollout.ended)}, {_text(rollout.outcome)}"
    yield "Took" if rollout.outcome else "So far", span(summary.duration(rollout, now))
    for decision in rollout.decisions:
        decided = f"{_time(decision.at)} by {_text(decision.by)}"
        if decision.what == "promote":
            yield "Promotion decided", decided
            if rollout.promoted is not None:
                yield "Stable from", f"{span(rollout.promoted - decision.at)} later"
        elif decision.what == "roll back":
            yield "Rollback decided", decided
            at = [m.at for m in rollout.weights if m.at >= decision.at and m.weight == 0]
            if at:
                yield "Weight 0 % reached", f"{span(at[0] - decision.at)} later"
    yield "Requests", f"canary {canary.requests:,}, stable {stable.requests:,}"
    yield "Errors", f"canary {canary.errors:,}, stable {stable.errors:,}"
    yield "Failures at the gateway", f"canary {canary.failed:,}, stable {stable.failed:,}"
    for note in rollout.notes:
        yield "Note", _text(note)
    for missing in rollout.missing:
        yield "Missing at last", _text(missing)


def _rules(rollout: Rollout) -> Iterator[tuple[str, str]]:
    for key, value in rollout.rules.model_dump(mode="json").items():
        yield _text(key), _text(_plain(value)) or "none"


def _plain(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return json.dumps({key: each for key, each in value.items() if each is not None})
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return "none" if value is None else str(value)


def _steps(rollout: Rollout, now: float) -> str:
    if not rollout.blocks:
        return "<p>No requests were counted.</p>"
    end = max(now if rollout.ended is None else rollout.ended, rollout.blocks[-1].end)
    until = rollout.promoted or end
    marks = [(at, f"{step + 1}", rollout.steps[max(step, 0)]) for at, step in rollout.entered]
    if rollout.promoted:
        marks.append((rollout.promoted, "promoted", 100))
    rows: list[str] = []
    for index, (at, name, weight) in enumerate(marks):
        after = marks[index + 1][0] if index + 1 < len(marks) else end
        if at < until or name == "promoted":
            found = between(rollout.blocks, at, after)
            rows += _step(rollout, (name, f"{weight} %", span(after - at)), found)
    objective = summary.objective(rollout)
    heads = ["step", "weight#", "lasted#", "version", "requests#"]
    heads += [f"{summary.name(metric, objective)}#" for metric in METRICS]
    heads += [f"p{share * 100:g}#" for share in summary.QUANTILES]
    return _table(heads, rows, "requests of each version in each step")


def _step(rollout: Rollout, lead: tuple[str, str, str], blocks: list[Block]) -> Iterator[str]:
    """Two rows: the canary's and stable's."""
    objective = summary.objective(rollout)
    sides = (
        (f"canary {rollout.canary}", added(block.canary for block in blocks)),
        (f"stable {rollout.stable}", added(block.stable for block in blocks)),
    )
    for index, (version, counts) in enumerate(sides):
        cells = [f"{counts.requests:,}"]
        cells += [percent(summary.share(*counts.tally(each, objective))) for each in METRICS]
        cells += [latency(quantile(counts.buckets, share)) for share in summary.QUANTILES]
        name, *others = ("", "", "") if index else lead
        shown = f'<th scope="row">{name}</th>' + "".join(f'<td class="n">{o}</td>' for o in others)
        numbers = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
        yield f"<tr>{shown}<td>{version}</td>{numbers}</tr>"


def _picture(rollout: Rollout, now: float) -> str:
    data = series(rollout, now)
    if data is None:
        return (
            "<p>There is no evidence: no requests of canary and stable were counted in this "
            "rollout, so there is nothing to draw.</p>"
        )
    described = (
        f"Panels on one time axis: the canary's weight, at most {summary.highest(rollout)} %; the "
        "verdicts; for errors, failures and slow requests the shares of both versions and the "
        "proven bounds of their difference; latency quantiles; requests a second. The same "
        "numbers stand in the tables of this page."
    )
    bins = span(data.width)
    return (
        f'<figure><div class="wide">{plots.svg(rollout, data, "The rollout over time", described)}'
        f"</div><figcaption>A point stands for {bins}. The bands of the differences hold at all "
        "times at once: whoever looks often is not misled. The 95 % intervals of the shares "
        "(Wilson) hold at one moment; they are for the eye, and decide nothing.</figcaption>"
        "</figure>"
    )


def _timeline(events: Iterable[Event], began: float) -> str:
    rows = []
    for event in events:
        tone = panels.TONES.get(event.tone) or _KINDS.get(event.kind) or "none"
        if event.kind == "end":
            tone = _ENDS.get(event.what, "unknown")
        number = "" if event.number is None else str(event.number)
        strong = event.kind in ("decision", "end", "failure", "change")
        what = escape(event.what)
        if event.kind == "verdict":
            what = f"verdict: {what}"
        rows.append(
            f'<tr><td class="tone {tone}">{_time(event.at)}</td>'
            f'<td class="n">+{span(event.at - began)}</td><td class="n">{number}</td>'
            f'<td class="what">{f"<strong>{what}</strong>" if strong else what}</td>'
            f'<td class="lines">{"<br>".join(map(escape, event.lines))}</td>'
            f'<td class="by">{escape(event.by)}</td></tr>'
        )
    heads = ("time", "since the begin#", "decision#", "what", "why, or how it went", "by")
    return _table(heads, rows, "everything that happened, oldest first")
