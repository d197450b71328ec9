"""The commands behind `make preview`, `drift`, `cost` and `prices`: `python -m review`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from review import command
from review.markdown import comment
from review.preview import PreviewError
from review.report import Review, review

_PACK = Path("policies")
_STACK = click.option("--stack", "-s", default="", help="The stack; by default the selected one.")
_BODY = click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it as a comment in Markdown to this file too.",
)
_ALL = click.option("--all", "everything", is_flag=True, help="Every line of the difference.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What an update would do, or what has changed without one, said for a person.

    Exit codes: 0 an update could follow, or nothing has drifted; 1 the preview failed or a policy
    objects that must be kept; 2 bad input; 3 something has drifted.
    """


@main.command()
@_STACK
@_BODY
@_ALL
@click.option(
    "--policy-pack",
    "packs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A directory with a policy pack; by default `policies`, where there is one.",
)
@click.option(
    "--policy-config",
    "configs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A policy pack's configuration, in JSON, in their order; by default its `<stack>.json`.",
)
@click.option(
    "--save-plan",
    "plan",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the plan, for `pulumi up --plan` to be held to.",
)
def preview(
    stack: str,
    markdown: Path | None,
    everything: bool,
    packs: tuple[Path, ...],
    configs: tuple[Path, ...],
    plan: Path | None,
) -> None:
    """What an update of the stack would do."""
    if not packs and (_PACK / "PulumiPolicy.yaml").exists():
        packs = (_PACK,)
    said = _run(command.Wanted(stack, packs, configs, plan), markdown, everything)
    raise SystemExit(0 if said.good else 1)


@main.command()
@_STACK
@_BODY
@_ALL
def drift(stack: str, markdown: Path | None, everything: bool) -> None:
    """What somebody has changed behind the stack's back."""
    said = _run(command.Wanted(stack, drift=True), markdown, everything)
    raise SystemExit(1 if not said.good else 3 if said.difference else 0)


@main.command()
@click.option("--stack", "-s", required=True, help="The stack; its file is Pulumi.<stack>.yaml.")
@click.option("--markdown", is_flag=True, help="Print a table in Markdown.")
@click.option(
    "--into",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put that table into this page, between its two marks.",
)
def cost(stack: str, markdown: bool, into: Path | None) -> None:
    """What the stack would cost by month, from its configuration alone: no account is asked."""
    from rich.console import Console

    from review import offline, terminal
    from review.prices import PricesError

    try:
        costs = offline.costs(stack)
        if costs is None:
            click.echo(f"{stack}: nothing of it is on AWS, so nobody bills it")
        elif into:
            page = offline.put(into.read_text(encoding="utf-8"), offline.page(costs))
            into.write_text(page, encoding="utf-8")
        elif markdown:
            click.echo(offline.page(costs))
        else:
            terminal.show_costs(costs, Console(highlight=False))
    except (offline.OfflineError, PricesError) as error:
        _refuse(error)


@main.command("prices")
@click.option("--region", "-r", required=True, help="The region, as in eu-central-1.")
def refresh(region: str) -> None:
    """Ask AWS for its prices and write the region's file anew. It takes a login to AWS."""
    from review import price_list

    try:
        missing, file = price_list.write(region)
    except price_list.PriceListError as error:
        _refuse(error)
    for line in missing:
        click.echo(f"no price: {line}", err=True)
    click.echo(f"{file}: written")


def _refuse(why: object) -> NoReturn:
    for line in str(why).splitlines():
        click.echo(f"slipway: {line}", err=True)
    raise SystemExit(2)


def _run(wanted: command.Wanted, markdown: Path | None, everything: bool) -> Review:
    from rich.console import Console

    from review import prices, terminal

    progress = command.Progress()
    try:
        name, found = command.run(wanted, progress)
    except (command.CommandError, PreviewError, OSError) as error:
        progress.end()
        click.echo(f"slipway: {error}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        progress.end()
        click.echo("slipway: stopped; nothing was changed", err=True)
        raise SystemExit(130) from None
    progress.end()
    try:
        said = review(name, found, prices.load, drift=wanted.drift)
    except prices.PricesError as error:
        _refuse(error)
    if markdown:
        markdown.write_text(comment(said), encoding="utf-8")
    terminal.show(said, Console(highlight=False), everything=everything)
    return said


if __name__ == "__main__":
    main(prog_name="python -m review")
