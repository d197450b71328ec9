"""What the commands have in common: progress, checks before they begin, orders, and their end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from rollout import plan
from rollout.adapters import configuration, policies
from rollout.adapters.store import LeaseHeldError
from rollout.driver import Driver
from rollout.journal import Rollout
from rollout.release import Beginning, RefusedError, begin, model_of
from rollout.session import Session, owner
from rollout.views.summary import clean

ROLLED_BACK, BAD_INPUT, STOPPED = 1, 2, 3


def log(line: str) -> None:
    """Print a line with the time of day; what came from outside steers no terminal."""
    click.echo(f"{time.strftime('%H:%M:%S')}  {clean(line)}")


class Progress:
    """Shows a rollout after a look: a line where something new is to be said, or every 15 s."""

    def __init__(self) -> None:
        self._next, self._last = 0.0, ""

    def __call__(self, rollout: Rollout) -> None:
        from rollout.views import live

        now = time.time()
        verdict = rollout.verdict.kind if rollout.verdict else ""
        if now >= self._next or verdict != self._last:
            self._next, self._last = now + 15, verdict
            log(live.line(rollout, now))


def no_rollout_under_way(session: Session, name: str) -> None:
    """Raise RefusedError while one is, unless only its rollback window is left."""
    last = session.last(name)
    if last is None or last.outcome:
        return
    if last.promoted is not None and last.pending is None:
        return
    raise RefusedError(
        f"{name}: a rollout of version {last.canary} is {last.phase} since "
        f"{time.strftime('%Y-%m-%d %H:%MZ', time.gmtime(last.began))}; `slipway run {name}` "
        f"goes on with it, `slipway rollback {name}` ends it"
    )


def nothing_else_to_deploy(session: Session) -> None:
    """An update takes whatever else was changed with it, so nothing else may be."""
    changes = session.stack.preview()
    if changes:
        listed = "".join(f"\n  {op} {kind} {name}" for op, kind, name in changes[:5])
        more = f"\n  and {len(changes) - 5} more" if len(changes) > 5 else ""
        raise RefusedError(
            f"stack {session.stack.name}: has changes that are not deployed, which a rollout's "
            f"update would take with it; run `pulumi up` first:{listed}{more}"
        )


def policies_let_it_be(
    session: Session, name: str, beginning: Beginning, packs: Sequence[Path]
) -> None:
    """Raise RefusedError if a mandatory policy has something against the first step. A rollback is
    no policy's to refuse, and the steps between change weights alone.
    """
    if not packs:
        return
    log(f"{name}: asking the policies …")
    stack = session.stack
    first = next(roles for roles in beginning.planned if roles.canary is not None)
    text = configuration.with_roles(stack.text(), name, first)
    found = policies.objections(session.directory, stack.name, text, packs)
    if found:
        listed = "".join(f"\n  {line}" for line in found)
        raise RefusedError(f"{name}: policies refuse version {first.canary}:{listed}")


def retire_last(session: Session, name: str, make: Callable[[], Driver]) -> None:
    """End the rollback window of the last rollout."""
    last = session.last(name)
    if last is None or last.outcome:
        return
    driver = make()
    why = "a new version is released"
    driver.note(plan.retire(driver.rollout, why, owner()))
    ended = driver.run(lambda rollout: rollout.pending is None)
    if ended.outcome != "promoted":
        raise RefusedError(f"{name}: the last rollout did not end: it is {ended.phase}")


def take_up(session: Session, name: str) -> None:
    """Begin a rollout from the canary in the configuration, where none is under way."""
    last = session.last(name)
    if last is not None and not last.outcome:
        return
    roles = session.stack.read_roles(name)
    if roles.canary is None:
        ended = f"; the last rollout: version {last.canary}, {last.outcome}" if last else ""
        raise RefusedError(
            f"{name}: nothing to run{ended}; slipway release {name} <version or @alias>"
        )
    nothing_else_to_deploy(session)
    beginning = begin(
        session.settings, name, None, roles, session.registry, session.prometheus, owner()
    )
    for line in beginning.lines:
        click.echo(f"  {line}")
    session.store(name).append(beginning.entry)


def give_order(session: Session, name: str, order: str, gate: str = "") -> None:
    """Do it, or have it done by the one who runs the rollout."""
    model_of(session.settings, name)
    last = session.last(name)
    if last is None:
        raise RefusedError(f"{name}: has no rollout; slipway release {name} <version or @alias>")
    try:
        plan.order(last, order, owner(), gate)
    except ValueError as error:
        if not (last.stopped and order in plan.MOVING):
            raise RefusedError(f"{name}: {error}") from None
    store, seen = session.store(name), len(session.store(name).entries())
    store.order(order, by=owner(), gate=gate, rollout=last.id, step=last.step)
    acts = order in plan.MOVING
    told = False
    while True:
        try:
            with session.driver(name, Progress()) as make:
                driver = make()
                driver.obey()
                rollout = driver.run(lambda rollout: True) if acts else driver.rollout
            runs = False
            break
        except LeaseHeldError as error:
            if not told:
                log(f"{order}: left for {error.holder}, who runs this rollout")
            told = runs = True
            found = session.last(name)
            if found and not store.orders() and (found.pending is None or not acts):
                rollout = found
                break
            time.sleep(0.5)
    for entry in store.entries()[seen:]:
        if entry["kind"] == "refused" and entry["by"] == owner():
            raise RefusedError(f"{name}: {entry['why']}")
    hint = "" if runs or rollout.outcome else f"nobody runs it: `slipway run {name}` goes on"
    finish(rollout, hint, ended_well=order == "rollback")


def finish(rollout: Rollout, hint: str, ended_well: bool = False) -> None:
    """Say where it stands, and exit with the code that says so."""
    outcome, model = rollout.outcome, rollout.model
    if outcome == "promoted" or (outcome == "rolled back" and ended_well):
        click.echo(f"{model}: version {rollout.canary} is {outcome}")
    elif outcome:
        why = rollout.decision.why if rollout.decision else ""
        click.echo(clean(f"{model}: version {rollout.canary} is {outcome}: {why}"))
        sys.exit(STOPPED if outcome == "superseded" else ROLLED_BACK)
    elif rollout.stopped:
        click.echo(
            f"{model}: stopped, {rollout.paused}; `slipway resume {model}` goes on from what "
            f"stands, `slipway rollback {model}` gives up",
            err=True,
        )
        sys.exit(STOPPED)
    else:
        shown = f"{rollout.phase}, version {rollout.canary} at {rollout.weight} %"
        click.echo(f"{model}: {shown}" + (f"; {hint}" if hint else ""))
