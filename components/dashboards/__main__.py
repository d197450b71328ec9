"""`python -m dashboards <directory>`: the dashboards as files that any Grafana takes."""

from __future__ import annotations

import sys
from pathlib import Path

from . import every


def main(arguments: list[str]) -> int:
    """Writes the files and prints their paths; one line and status 2 for a mistake."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m dashboards <directory>", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in every().items():
            (directory / name).write_text(content)
            print(directory / name)
    except OSError as error:
        print(f"{directory}: cannot be written to: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
