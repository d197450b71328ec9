"""Whether a configuration of the pack names what there is: `python3 policies/check.py FILE …`.

Pulumi refuses such a file too, but of a rule that there is not it may say no more than that a level
is missing. This needs neither Pulumi nor the pack's environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from engine.rule import Level
from rules import ALL

_LEVEL = "enforcementLevel"
_RULES = {rule.name: rule for rule in ALL}


def faults(told: Any) -> Iterator[str]:
    """A line for each name or level that there is not."""
    if not isinstance(told, dict):
        yield "is no object of rules"
        return
    for name, knobs in told.items():
        if not isinstance(knobs, dict):
            knobs = {_LEVEL: knobs}
        if name != "all" and name not in _RULES:
            yield f"there is no policy {name}"
            continue
        own = [knob for knob in knobs if knob != _LEVEL]
        known = _RULES[name].knobs if name in _RULES else {}
        for knob in own:
            if knob not in known:
                yield f"{name}: there is no knob {knob} (there: {', '.join(known) or 'none'})"
        level = knobs.get(_LEVEL, "advisory" if name in _RULES else None)
        if level not in get_args(Level):
            yield f"{name}: {json.dumps(level)} is no level ({', '.join(get_args(Level))})"


def main(files: list[str]) -> int:
    """Print the faults of the files; 1 if there are any."""
    found = []
    for file in files:
        try:
            told = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.append(f"{file}: cannot be read: {error}")
        else:
            found += [f"{file}: {fault}" for fault in faults(told)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
