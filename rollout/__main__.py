"""The command line: `slipway`, or `python -m rollout`."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from yaml import YAMLError

from rollout.adapters.configuration import ConfigurationError
from rollout.adapters.prometheus import PrometheusError
from rollout.adapters.registry import RegistryError
from rollout.adapters.stack import StackError, UpdateError
from rollout.adapters.store import LeaseHeldError, StoreError
from rollout.commands import (
    BAD_INPUT,
    ROLLED_BACK,
    STOPPED,
    Progress,
    finish,
    give_order,
    log,
    no_rollout_under_way,
    nothing_else_to_deploy,
    policies_let_it_be,
    retire_last,
    take_up,
)
from rollout.driver import LeaseLostError
from rollout.journal import JournalError, Rollout
from rollout.release import RefusedError, begin, model_of
from rollout.session import Session, owner, plain_error, project
from settings import SettingsError

_BAD = (
    RefusedError,
    ConfigurationError,
    RegistryError,
    StackError,
    StoreError,
    JournalError,
    LeaseHeldError,
    PrometheusError,
    SettingsError,
)


class _Commands(click.Group):
    """Commands whose mistakes are lines, not traces."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _BAD as error:
            click.echo(plain_error(error), err=True)
            ctx.exit(BAD_INPUT)
        except (UpdateError, LeaseLostError) as error:
            click.echo(plain_error(error), err=True)
            ctx.exit(ROLLED_BACK)
        except (OSError, YAMLError) as error:
            click.echo(plain_error(error), err=True)
            ctx.exit(BAD_INPUT)
        except KeyboardInterrupt:
            click.echo("\nslipway: stopped here; nothing is lost, `slipway run` goes on", err=True)
            ctx.exit(STOPPED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--stack", "-s", help="The Pulumi stack; by default the selected one.")
@click.option(
    "--cwd",
    "-C",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="A directory of the project; by default this one.",
)
@click.pass_context
def main(ctx: click.Context, stack: str | None, cwd: Path) -> None:
    """Rollouts: a canary moved through steps of weight, to promotion or rollback, on evidence.

    The stack's configuration is the only truth: each step edits it and runs the update. Whatever
    happens is in a journal first, so any command may be killed and run again.

    Exit codes: 0 done or promoted, 1 rolled back or failed, 2 bad input and nothing changed,
    3 stopped before an outcome.
    """
    if ctx.invoked_subcommand != "simulate":
        ctx.obj = Session(project(cwd.resolve()), stack, log)


_NAME = click.argument("name", metavar="MODEL")


@main.command()
@_NAME
@click.argument("version", metavar="VERSION|@ALIAS")
@click.option("--force", is_flag=True, help="Release although the signatures are not compatible.")
@click.option("--run", "go_on", is_flag=True, help="Go on with all steps, as `run` does.")
@click.option("--no-forecast", is_flag=True, help="Do not say beforehand how long it may take.")
@click.option(
    "--policy-pack",
    "packs",
    multiple=True,
    envvar="SLIPWAY_POLICY_PACK",
    show_envvar=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A directory with a policy pack, which may refuse it; its `<stack>.json` configures it.",
)
@click.pass_obj
def release(
    session: Session,
    name: str,
    version: str,
    force: bool,
    go_on: bool,
    no_forecast: bool,
    packs: tuple[Path, ...],
) -> None:
    """Make a version of MODEL the canary, at the first step's weight.

    An alias such as @challenger is resolved to its version. Everything that could stop it is asked
    first: is the version registered, whole, compatible with the stable one; is there evidence to
    go by; do the policies, where packs are given, let it be.
    """
    model_of(session.settings, name)
    with session.driver(name, Progress()) as make:
        no_rollout_under_way(session, name)
        log(f"{name}: checking what is deployed …")
        nothing_else_to_deploy(session)
        log(f"{name}: checking version {version} and the evidence to come …")
        # The rollback window of the rollout before, if it has one, ends with a new release.
        roles = replace(session.stack.read_roles(name), previous=None)
        beginning = begin(
            session.settings,
            name,
            version,
            roles,
            session.registry,
            session.prometheus,
            owner(),
            force=force,
            forecasting=not no_forecast,
        )
        for entry in beginning.planned:
            session.stack.check_roles(name, entry)
        policies_let_it_be(session, name, beginning, packs)
        retire_last(session, name, make)
        for line in beginning.lines:
            click.echo(f"  {line}")
        session.store(name).append(beginning.entry)
        rollout = make().run(lambda rollout: not go_on)
    finish(rollout, f"`slipway run {name}` goes on")


@main.command()
@_NAME
@click.option("--no-wait", is_flag=True, help="End at promotion, not after the rollback window.")
@click.pass_obj
def run(session: Session, name: str, no_wait: bool) -> None:
    """Take all the steps of MODEL's rollout, to promotion or rollback.

    Goes on where a killed one stopped. A canary that was deployed by hand is taken up. After
    promotion it keeps watch, and keeps the version before warm, for the rollback window.
    """
    model_of(session.settings, name)
    with session.driver(name, Progress()) as make:
        take_up(session, name)
        rollout = make().run(
            lambda rollout: no_wait and rollout.promoted is not None and rollout.pending is None
        )
    finish(rollout, f"`slipway run {name}` ends the rollback window")


@main.command()
@_NAME
@click.option("--now", is_flag=True, help="Take the step at once, whatever the evidence.")
@click.pass_obj
def step(session: Session, name: str, now: bool) -> None:
    """Wait for the verdict on MODEL's present step, and take one step."""
    if now:
        give_order(session, name, "step")
        return
    model_of(session.settings, name)
    with session.driver(name, Progress()) as make:
        take_up(session, name)
        driver = make()
        if driver.rollout.outcome:
            raise RefusedError(f"{name}: its rollout has ended: {driver.rollout.outcome}")
        decided = len(driver.rollout.decisions) - (1 if driver.rollout.pending else 0)
        rollout = driver.run(lambda rollout: len(rollout.decisions) > decided)
    finish(rollout, f"`slipway step {name}` or `run` goes on")


@main.command()
@_NAME
@click.pass_obj
def pause(session: Session, name: str) -> None:
    """Take no more steps. A canary proven bad is rolled back even so, while `run` watches."""
    give_order(session, name, "pause")


@main.command()
@_NAME
@click.pass_obj
def resume(session: Session, name: str) -> None:
    """Go on after a pause, or after a change by hand from what stands now."""
    give_order(session, name, "resume")


@main.command()
@_NAME
@click.argument("gate")
@click.pass_obj
def approve(session: Session, name: str, gate: str) -> None:
    """Open the approval GATE of MODEL's rollout for the present step."""
    give_order(session, name, "approve", gate)


@main.command()
@_NAME
@click.pass_obj
def promote(session: Session, name: str) -> None:
    """Make the canary the stable version now, whatever the evidence."""
    give_order(session, name, "promote")


@main.command()
@_NAME
@click.pass_obj
def rollback(session: Session, name: str) -> None:
    """Give all requests back to the version before, and remove the canary.

    Until the rollback window is over that undoes a promotion too.
    """
    give_order(session, name, "rollback")


@main.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--watch", "-w", is_flag=True, help="Until Ctrl-C, or the rollout's end.")
@click.pass_obj
def status(session: Session, name: str | None, watch: bool) -> None:
    """Where the rollouts stand, of MODEL or of all: step, weight, requests, errors, verdict."""
    from rich.console import Console
    from rich.live import Live

    from rollout.views import live

    if name:
        model_of(session.settings, name)
    names = [name] if name else sorted(session.settings.models)

    def shown() -> tuple[Any, bool]:
        last: dict[str, Rollout | None] = {}
        for one in names:
            try:
                last[one] = session.last(one)
            except JournalError as error:
                click.echo(plain_error(error), err=True)
        holders = {one: session.store(one).lease("").holder() for one in names}
        busy = any(rollout and not rollout.outcome for rollout in last.values())
        return live.status(last, time.time(), holders), busy

    console = Console()
    table, busy = shown()
    if not watch:
        console.print(table)
        return
    with Live(table, console=console, auto_refresh=False) as display:
        while busy:
            time.sleep(1)
            table, busy = shown()
            display.update(table, refresh=True)


@main.command()
@_NAME
@click.pass_obj
def history(session: Session, name: str) -> None:
    """The rollouts of MODEL, newest first: versions, outcome, requests, and why."""
    from rich.console import Console

    from rollout.views import live

    found = session.journal(name)
    if not found:
        model_of(session.settings, name)
    Console().print(live.history(found[::-1]))


@main.command()
@_NAME
@click.option("--id", "which", help="The rollout, as `history` shows it; by default the last.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), default=None)
@click.pass_obj
def report(session: Session, name: str, which: str | None, output: Path | None) -> None:
    """Write one HTML file about a rollout of MODEL: what happened, with plots, and why."""
    from rollout.views import report as reports

    found = session.journal(name)
    chosen = [rollout for rollout in found if which in (None, rollout.id)]
    if not chosen:
        known = ", ".join(rollout.id for rollout in found) or "none"
        raise RefusedError(f"{name}: no rollout {which or 'yet'} in the journal (there: {known})")
    path = output or Path(f"rollout-{name}-{chosen[-1].id}.html")
    entries = session.store(name).entries()
    path.write_text(reports.html(chosen[-1], time.time(), entries), encoding="utf-8")
    click.echo(path)


@main.command()
@click.option("--rollouts", default=10_000, show_default=True, type=click.IntRange(100, 100_000))
@click.option(
    "--rate",
    "rates",
    multiple=True,
    type=click.FloatRange(0.01, 100_000),
    help="Requests a second; again for more. By default 1, 10 and 100.",
)
@click.option(
    "--errors",
    default=0.01,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The share of errors of a good version.",
)
@click.option(
    "--gap",
    "gaps",
    multiple=True,
    metavar="FROM-TO",
    help="Minutes in which Prometheus is silent, as in 5-8.",
)
@click.option("--stop", "stops", multiple=True, metavar="FROM-TO", help="Minutes without traffic.")
@click.option(
    "--resets",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="The share of blocks lost to a counter's reset.",
)
@click.option(
    "--drift",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="How much of itself the error rate rises and falls by within an hour.",
)
@click.option("--model", help="Go by the rules of this model of the stack.")
@click.option(
    "--replay",
    metavar="MODEL|FILE",
    help="Traffic as a model's journal, or a CSV of seconds,requests,errors,slow, has it.",
)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Plain data instead of a table.")
def simulate(
    model: str | None,
    replay: str | None,
    seed: int,
    as_json: bool,
    **world: Any,
) -> None:
    """How often the rule is right, over simulated rollouts, without a cluster.

    Good versions, and ones with the regression that is guarded against, go through the very rule
    that decides real rollouts; beside it, on the same requests, through Flagger's.
    """
    from rollout.judge.rules import Rules
    from rollout.simulation import scenario

    rules, found = None, []
    if model or (replay and not Path(replay).is_file()):
        outer = click.get_current_context().find_root().params
        session = Session(project(outer["cwd"].resolve()), outer["stack"], log)
        rules = model_of(session.settings, model).rollout if model else None
        found = session.journal(replay) if replay else []
    objective = (Rules.of(rules) if rules else Rules()).objective
    series = scenario.recorded(replay, found, objective) if replay else None

    def tell(line: str) -> None:
        click.echo(line, err=True)

    click.echo(scenario.run(rules, series, seed, as_json, tell, **world))


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def cli() -> None:
    """What the console script runs."""
    signal.signal(signal.SIGTERM, _interrupt)
    main(prog_name="slipway")


if __name__ == "__main__":
    cli()
