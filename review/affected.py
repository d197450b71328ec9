"""Which stacks a change of files can affect. Pure but for `changed`, which asks git."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

# What no stack's preview reads. Everything else can change what is deployed: what is not known to
# be harmless is taken for harmful. `local/` is not here: it pins the charts that are deployed.
HARMLESS: Final = (
    "*.md",
    ".ci/*",
    ".github/*",
    ".gitignore",
    ".gitlab-ci.yml",
    "LICENSE",
    "bench/*",
    "docs/*",
    "pyproject.toml",
    "review/*",
    "rollout/*",
    "serving_image/tests/*",
    "tests/*",
)


def stacks(files: Iterable[str], known: Sequence[str]) -> list[str]:
    """Of the stacks that are known, those that a change of these files can affect, in their order.

    A stack's own file and its configuration of the policies affect it alone; a program, a rule or
    a pin affects all; a page of the documentation none.
    """
    hit: set[str] = set()
    for name in files:
        path = PurePosixPath(name)
        own = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
        if str(path.parent) == "." and path.name == f"Pulumi.{own}.yaml":
            hit |= {own} & set(known)
        elif str(path.parent) == "policies" and path.suffix == ".json":
            # How strict the policies are with that stack.
            hit |= {path.stem} & set(known)
        elif not any(fnmatch(name, pattern) for pattern in HARMLESS):
            return list(known)
    return [stack for stack in known if stack in hit]


def changed(since: str, directory: Path = Path()) -> list[str]:
    """The files that differ between the commit where this branch left `since` and this one.

    Raises:
        ValueError: git knows no such commit; the message is one line.
    """
    command = ["git", "diff", "--name-only", "--no-renames", "-z", f"{since}...HEAD", "--"]
    if since.startswith("-"):
        raise ValueError(f"{since}: is no commit")
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["git did not say why"]
        raise ValueError(f"{since}: {said[0].removeprefix('fatal: ')}")
    return [name for name in done.stdout.split("\0") if name]


def known(directory: Path = Path()) -> list[str]:
    """The stacks that have a file in the project."""
    names = (file.name for file in directory.glob("Pulumi.*.yaml"))
    return sorted(name.removeprefix("Pulumi.").removesuffix(".yaml") for name in names)


def chosen(names: str, there: Sequence[str]) -> list[str]:
    """The stacks of a list such as `dev, prod`; all that are there, if it is empty.

    Raises:
        ValueError: one has no file.
    """
    listed = [name for name in re.split(r"[\s,]+", names) if name]
    if missing := [name for name in listed if name not in there]:
        raise ValueError(
            f"stack {missing[0]}: has no Pulumi.{missing[0]}.yaml "
            f"(there are {', '.join(there) or 'none'})"
        )
    return [name for name in there if name in listed or not listed]


def main() -> None:
    """The stacks that a change can affect, as a list in JSON on one line."""
    parser = argparse.ArgumentParser(prog="python3 -m review.affected", description=main.__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--since", help="the branch or commit that the change is to go to")
    which.add_argument("--all", action="store_true", help="whatever has changed")
    parser.add_argument("--of", default="", help="of these stacks alone, as in dev,prod")
    given = parser.parse_args()
    try:
        of = chosen(given.of, known())
        print(json.dumps(of if given.all else stacks(changed(given.since), of)))
    except ValueError as error:
        print(f"slipway: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
