"""Why an update failed, in one line, from what Pulumi printed. Pure."""

from __future__ import annotations

import json
import re
from typing import Final, Literal

Kind = Literal["locked", "unreachable", "failed"]

LONGEST: Final = 500
_SHOWN: Final = 3
_LOCKED: Final = ("the stack is currently locked by", "Another update is currently in progress")
# A connection that Pulumi, a provider or the program tried, and not one that a pod's log speaks of.
_UNREACHABLE: Final = re.compile(
    r"cluster is unreachable"
    r"|does not answer"
    r"|performing HTTP request:"
    r"|request send failed"
    r"|the server is currently unable to handle the request"
    r"|etcdserver: (request timed out|leader changed|no leader)"
    r'|(Get|Head|Post|Put|Patch|Delete) "https?://[^"]*": '
    r"|\b50[234] (Bad Gateway|Service Unavailable|Gateway Time-?out)"
    r"|dial tcp [^ ]+: (connect: |i/o timeout|lookup )"
    r"|(connect: connection refused|net/http: TLS handshake timeout|: i/o timeout)"
)
_OF_A_POD: Final = re.compile(r"probe failed|containers? with|\[Pod |Back-off|ImagePull", re.I)
_EMPTY: Final = re.compile(
    r"^(an unhandled error occurred: program exited|update (failed|canceled)$|preview failed$)"
)
_HEAD: Final = re.compile(r"^  (\S+) \((.+)\):\s*$")


def failure(output: str, errors: str) -> tuple[str, Kind]:
    """The one telling line of a failed command, at most LONGEST characters, and its kind.

    Args:
        output: what it printed, without colours, in words or with --json.
        errors: what it printed to standard error.
    """
    blocks = (
        _of_json(output)
        or _diagnostics(output)
        or _errors(errors.splitlines())
        or _errors(output.splitlines())
    )
    if any(word in block for block in blocks for word in _LOCKED):
        kind: Kind = "locked"
    elif any(_UNREACHABLE.search(block) and not _OF_A_POD.search(block) for block in blocks):
        kind = "unreachable"
    else:
        kind = "failed"
    telling = [block for block in blocks if not _EMPTY.match(block)] or blocks[:1]
    if not telling:
        said = [line for line in (errors + "\n" + output).splitlines() if line.strip()]
        telling = [said[-1].strip()] if said else ["Pulumi ended without a word"]
    more = f" (and {len(telling) - _SHOWN} more)" if len(telling) > _SHOWN else ""
    line = "; ".join(telling[:_SHOWN])
    room = LONGEST - len(more)
    return (line if len(line) <= room else line[: room - 1] + "…") + more, kind


def _of_json(output: str) -> list[str]:
    """The errors in what a command with --json prints."""
    try:
        found = json.loads(output)["diagnostics"]
        said = [entry["message"] for entry in found if entry.get("severity") == "error"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return [error for message in said for error in _errors(str(message).splitlines())]


def _diagnostics(output: str) -> list[str]:
    """The errors below `Diagnostics:`, each after the name of its resource."""
    lines = output.splitlines()
    if "Diagnostics:" not in lines:
        return []
    found: list[str] = []
    inside: list[str] = []
    name = ""
    for line in [*lines[lines.index("Diagnostics:") + 1 :], "Resources:"]:
        head = _HEAD.match(line)
        if head or (line and not line.startswith(" ")):
            found += [name + error for error in _errors(inside)]
            inside = []
        if head:
            name = "" if head[1] == "pulumi:pulumi:Stack" else f"{head[2]}: "
        elif line and not line.startswith(" "):
            break
        else:
            inside.append(line)
    return list(dict.fromkeys(found))


def _errors(lines: list[str]) -> list[str]:
    """Each `error: …` with the lines that go on below it."""
    found: list[list[str]] = []
    taking = False
    for line in map(str.strip, lines):
        if line.startswith("error: "):
            found.append([line.removeprefix("error: ")])
            taking = True
        elif not line or line.startswith(("warning: ", "info: ", "debug: ")):
            taking = False
        elif taking:
            found[-1].append(line)
    return [_one_line(part) for part in found]


def _one_line(parts: list[str]) -> str:
    if parts[0].startswith("Program failed with an unhandled exception"):
        # A trace's last line says what; those before it say where.
        where = next((p for p in reversed(parts) if p.startswith('File "')), "")
        parts = [parts[-1], f"({where})"] if where else parts[-1:]
    return " ".join(" ".join(part.split()) for part in parts)
