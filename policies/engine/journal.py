"""What rollouts have decided, read from their journals.

A journal is `<directory>/<stack>/<model>/journal.jsonl`; the directory is $SLIPWAY_JOURNAL, or
`.slipway/rollouts` where pulumi was started. Its entries: `rollout/journal.py` of Slipway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class JournalError(Exception):
    """A journal that cannot be read; the message names it."""


def directory() -> Path:
    """Where the journals lie."""
    return Path(os.environ.get("SLIPWAY_JOURNAL") or ".slipway/rollouts")


def decided(stack: str, model: str, version: int) -> int | None:
    """The greatest weight, in percent, that the open rollout of this canary has decided on; None
    if there is no such rollout.

    Raises JournalError if the journal makes no sense.
    """
    path = directory() / stack / model / "journal.jsonl"
    try:
        lines = path.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    try:
        return weight([json.loads(line) for line in lines], version)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(f"{path}: is no journal of a rollout: {error!r}") from error


def weight(entries: list[Mapping[str, Any]], version: int) -> int | None:
    """As `decided`, from a journal's entries. What a person deployed before the rollout began, or
    beside it, was not its decision.
    """
    open_: bool = False
    greatest: int | None = None
    for entry in entries:
        if entry["kind"] == "begin":
            open_, greatest = entry["canary"] == version, None
        elif entry["kind"] == "end":
            open_, greatest = False, None
        elif entry["kind"] == "decide" and open_:
            for act in entry["acts"]:
                roles = act.get("roles")
                if roles and roles["canary"] == version:
                    greatest = max(greatest or 0, int(roles["weight"]))
    return greatest
