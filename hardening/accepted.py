"""The file of what is accepted: hardening/accepted.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hardening.findings import Accepted

FILE = Path(__file__).with_name("accepted.yaml")
SCANNERS = ("checkov", "kube-score", "pip-audit")
_KEYS = ("scanner", "check", "objects", "reason")


class AcceptedError(ValueError):
    """The file cannot be used. Each line of the text names a place, what is there, and what may."""


def load(path: Path = FILE) -> tuple[Accepted, ...]:
    """The exceptions in the file.

    Raises:
        AcceptedError: it cannot be read, or something in it is wrong.
    """
    try:
        return parse(path.read_text())
    except OSError as error:
        raise AcceptedError(f"{path}: {error.strerror}") from None


def parse(text: str) -> tuple[Accepted, ...]:
    """The exceptions in the text: a list of {scanner, check, objects: [pattern], reason}.

    Raises:
        AcceptedError: it is no YAML, or something in it is wrong; one line for each fault.
    """
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise AcceptedError(f"{FILE.name}: is no YAML{line}") from None
    if not isinstance(entries, list):
        raise AcceptedError(f"{FILE.name}: is not a list of exceptions")
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        faults += [f"{FILE.name}: entry {number}: {fault}" for fault in _faults(entry)]
    if faults:
        raise AcceptedError("\n".join(faults))
    return tuple(
        Accepted(it["scanner"], it["check"], tuple(it["objects"]), it["reason"]) for it in entries
    )


def _faults(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{entry!r} is not a mapping with the keys {', '.join(_KEYS)}"]
    faults = [
        f"{key}: there is no such key; allowed: {', '.join(_KEYS)}"
        for key in entry
        if key not in _KEYS
    ]
    faults += [f"{key}: is not there" for key in _KEYS if key not in entry]
    for key in ("scanner", "check", "reason"):
        if key in entry and (not isinstance(entry[key], str) or not entry[key].strip()):
            faults.append(f"{key}: {entry[key]!r} is not a text")
    if isinstance(entry.get("scanner"), str) and entry["scanner"] not in SCANNERS:
        faults.append(f"scanner: {entry['scanner']!r} is none of {', '.join(SCANNERS)}")
    patterns = entry.get("objects")
    if "objects" in entry and not (
        isinstance(patterns, list)
        and patterns
        and all(isinstance(pattern, str) and pattern for pattern in patterns)
    ):
        faults.append(f"objects: {patterns!r} is not a list of patterns")
    return faults
