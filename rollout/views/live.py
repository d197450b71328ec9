"""What a person at a terminal sees of rollouts. Renders state; changes and asks nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rollout.journal import Rollout
from rollout.judge.evidence import METRICS
from rollout.views import summary
from rollout.views.summary import NONE, Side, clean, latency, percent, span

_STYLES: Final = {
    "advance": "green",
    "hold": "yellow",
    "not enough evidence": "cyan",
    "roll back": "bold red",
    "promoted": "bold green",
    "warm": "green",
    "rolled back": "bold red",
    "rolling back": "bold red",
    "paused": "bold yellow",
    "stopped": "bold yellow",
    "superseded": "bold yellow",
}

# Prometheus scrapes every few seconds; evidence older than this is worth a look.
_LATE_SECONDS: Final = 30
_WHY: Final = 200  # characters of it where there is one line for all


def status(
    rollouts: Mapping[str, Rollout | None], now: float, holders: Mapping[str, str | None]
) -> RenderableType:
    """Each model's rollout, one below the other; None for a model without any.

    `now` in seconds since 1970; `holders`: model -> who runs its rollout, None if nobody does. Fits
    into any width from 40 columns on, and into ASCII where the terminal has no more.
    """
    shown: list[RenderableType] = []
    for model, rollout in rollouts.items():
        if shown:
            shown.append(Text())
        shown.append(_one(rollout, now, holders.get(model)) if rollout else _none(model))
    return _Plain(Group(*shown) if shown else Text("no models are configured"))


def line(rollout: Rollout, now: float) -> str:
    """The rollout on one line, for logs."""
    parts = [f"{clean(rollout.model)}: {rollout.phase}, canary {rollout.canary}"]
    parts[0] += f" at {rollout.weight} %{_step(rollout)}"
    if rollout.verdict and not rollout.outcome:
        first, *others = rollout.verdict.reasons or ("",)
        more = f" (and {len(others)} more)" if others else ""
        parts.append(clean(f"{rollout.verdict.kind}: {first}{more}"))
    if rollout.outcome or rollout.paused is not None:
        parts.append(summary.shorten(summary.why(rollout), _WHY))
    for name, side in zip(("canary", "stable"), summary.sides(rollout), strict=True):
        rate = percent(summary.share(side.total.errors, side.total.requests))
        parts.append(f"{name} {side.total.requests:,} requests, {rate} errors")
    parts += [clean(missing) for missing in rollout.missing if not rollout.outcome]
    pending = rollout.pending
    if pending and not rollout.outcome:
        failed = f", FAILED {_times(pending.failures)}: {pending.error}" if pending.failures else ""
        parts.append(clean(f"{pending.acts[pending.done]}{failed}"))
    parts.append(_ended(rollout) if rollout.outcome else _clocks(rollout, now))
    return "; ".join(part for part in parts if part)


def history(rollouts: Sequence[Rollout]) -> RenderableType:
    """One row a rollout, in the order given: what it was, how it ended, and below it why."""
    if not rollouts:
        return _Plain(Text("no rollouts yet"))
    heads = ("began, UTC", "versions", "outcome", "took", "most", "requests", "errors")
    shown: list[RenderableType] = [_row([Text(head, style="bold") for head in heads])]
    for rollout in rollouts:
        canary, _ = rollout.totals()
        row = (
            Text(summary.moment(rollout.began)[:16]),
            Text(f"{rollout.canary} vs {rollout.stable}"),
            Text(rollout.phase, style=_STYLES.get(rollout.phase, "")),
            Text(span(summary.duration(rollout, rollout.last))),
            Text(f"{summary.highest(rollout)} %"),
            Text(f"{canary.requests:,}"),
            Text(f"{canary.errors:,}"),
        )
        why = summary.shorten(summary.why(rollout) or "under way", _WHY)
        why = f"{clean(rollout.model)}, {clean(rollout.id)}: {why}"
        shown += [_row(row), Padding(Text(why, style="dim"), (0, 0, 0, 2))]
    return _Plain(Group(*shown))


def _row(cells: Sequence[Text]) -> Table:
    """A row of the history: every row is a table of its own, so that text may run below it."""
    table = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
    for width, right in zip((16, 8, 12, 11, 5, 10, 7), (0, 0, 0, 0, 1, 1, 1), strict=True):
        table.add_column(width=width, overflow="fold", justify="right" if right else "left")
    table.add_row(*cells)
    return table


@dataclass(frozen=True)
class _Plain:
    """Puts a question mark for what the terminal's encoding may not hold."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            if options.ascii_only and not segment.control:
                text = segment.text.encode("ascii", "replace").decode("ascii")
                yield Segment(text, segment.style)
            else:
                yield segment


def _none(model: str) -> RenderableType:
    return Text.assemble((clean(model), "bold"), "  no rollout")


def _one(rollout: Rollout, now: float, holder: str | None) -> RenderableType:
    phase = rollout.phase
    head = Text.assemble(
        (clean(rollout.model), "bold"),
        f"  canary {rollout.canary} against stable {rollout.stable}  ",
        (phase.upper(), _STYLES.get(phase, "bold")),
    )
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(width=8)
    facts.add_column(overflow="fold")
    for name, text in _facts(rollout, now, holder):
        facts.add_row(Text(name, style="dim"), text)
    return Group(head, Padding(facts, (0, 0, 0, 2)), Padding(_numbers(rollout, now), (1, 0, 0, 2)))


def _facts(rollout: Rollout, now: float, holder: str | None) -> Iterator[tuple[str, Text]]:
    judged = rollout.verdict
    if rollout.outcome:
        yield "outcome", Text(_ended(rollout), style=_STYLES.get(rollout.outcome, ""))
        if not judged or summary.why(rollout) != clean("; ".join(judged.reasons)):
            yield "why", Text(summary.why(rollout))
    elif holder is None:
        gone = f"nobody runs it: `slipway run {clean(rollout.model)}` goes on"
        yield "run by", Text(gone, style="bold yellow")
    else:
        yield "run by", Text(clean(holder))
    yield "schedule", _schedule(rollout)
    pending = rollout.pending
    if not rollout.outcome:
        if clocks := _clocks(rollout, now):
            yield "time", Text(clocks)
        if rollout.paused is not None:
            yield "paused", Text(clean(rollout.paused), style="bold yellow")
        if pending:
            act = f"{pending.acts[pending.done]}, act {pending.done + 1} of {len(pending.acts)}"
            yield "doing", Text(f"{act}: {clean(pending.why)}")
            if pending.failures:
                yield "FAILED", _loud(f"{_times(pending.failures)}: {clean(pending.error)}")
    if judged:
        text = Text(judged.kind, style=_STYLES.get(judged.kind, ""))
        if not rollout.outcome:
            text.append(f", for {span(now - summary.since(rollout))}", "dim")
        yield "verdict", text
        for reason in judged.reasons:
            yield "", Text(f"- {clean(reason)}")
        if (wanting := summary.to_go(rollout)) and not rollout.outcome:
            yield "to go", Text(wanting)
    for missing in rollout.missing:
        yield "missing", Text(clean(missing), style="yellow")


def _loud(text: str) -> Text:
    return Text(f" {text} ", style="bold white on red")


def _schedule(rollout: Rollout) -> Text:
    """The steps, done ones dim, the one under way in brackets."""
    text = Text()
    for index, weight in enumerate(rollout.steps):
        text.append(" > " if index else "", "dim")
        if index == rollout.step and rollout.promoted is None:
            text.append(f"[{weight}]", "bold reverse")
        else:
            text.append(str(weight), "green" if index <= rollout.step else "dim")
    text.append(" > ", "dim")
    text.append("[promoted]" if rollout.promoted is not None else "promoted", "dim")
    return text.append(f"   {rollout.weight} %{_step(rollout)}")


def _numbers(rollout: Rollout, now: float) -> RenderableType:
    """Canary and stable side by side, with what is known of their difference."""
    until = rollout.evidence_until
    if until is None:
        return Text("no evidence yet", style="cyan")
    canary, stable = summary.sides(rollout)
    objective = summary.objective(rollout)
    known = summary.estimates(rollout)
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    table.add_column(justify="right", overflow="fold")
    table.add_column(overflow="fold")
    heads = ("", f"canary {rollout.canary}", f"stable {rollout.stable}", "canary - stable")
    table.add_row(*(Text(head, style="bold") for head in heads))
    table.add_row("requests", *(f"{side.total.requests:,}" for side in (canary, stable)))
    table.add_row("last minute", *(f"{side.lately.requests:,}" for side in (canary, stable)))
    table.add_row("per second", *(_rate(side) for side in (canary, stable)))
    limits = summary.limits(rollout)
    for metric in METRICS:
        label = summary.name(metric, objective)
        shares = [side.rate(metric, objective) for side in (canary, stable)]
        over = shares[0] is not None and shares[0] > limits.get(metric, 1)
        table.add_row(
            label,
            Text(percent(shares[0]), style="bold red" if over else ""),
            percent(shares[1]),
            Text(_difference(known[metric], rollout) if metric in known else ""),
        )
    for share in summary.QUANTILES:
        cells = (latency(summary.quantile(side.total.buckets, share)) for side in (canary, stable))
        table.add_row(f"p{share * 100:g}", *cells)
    if rollout.outcome:
        return table
    ago = now - until
    style = "yellow" if ago > _LATE_SECONDS else "dim"
    return Group(table, Text(f"evidence until {span(ago)} ago", style=style))


def _difference(known: Mapping[str, Any], rollout: Rollout) -> str:
    """What is proven of it, and what must be for the step to end."""
    text, needed = summary.difference(known["lower"], known["upper"]), known.get("needed")
    if needed is None or needed >= 1 or rollout.outcome or rollout.promoted is not None:
        return text
    return f"{text}, needs < {needed * 100:.2g}"


def _rate(side: Side) -> str:
    return NONE if side.per_second is None else f"{side.per_second:.1f}"


def _step(rollout: Rollout) -> str:
    """`, step 2 of 5`, or nothing where no step is under way."""
    if rollout.step < 0 or rollout.promoted is not None or rollout.outcome:
        return ""
    return f", step {rollout.step + 1} of {len(rollout.steps)}"


def _clocks(rollout: Rollout, now: float) -> str:
    clock = summary.clock(rollout, now)
    if clock.warm is not None:
        left = f"for {span(clock.warm)}" if clock.warm > 0 else "no longer"
        return f"version {rollout.stable} is kept warm {left}"
    if clock.in_step is None:
        return ""
    parts = [f"{span(clock.in_step)} in this step"]
    if clock.interval is not None and clock.interval > 0:
        parts.append(f"{span(clock.interval)} of its interval left")
    if clock.patience is not None:
        left = f"{span(clock.patience)} left" if clock.patience > 0 else "is over"
        parts.append(f"patience {left}")
    return ", ".join(parts)


def _ended(rollout: Rollout) -> str:
    return f"{rollout.outcome} after {span(summary.duration(rollout, rollout.last))}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
