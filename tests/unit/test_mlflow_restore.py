"""The shell of MLflow's restore: all of the dump in one transaction, or nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.manifests.mlflow_backup import LOAD

# What PostgreSQL would be asked to do lies in `asked` then.
PSQL = '#!/bin/sh\ncat > "$TMPDIR/../asked"\n'
WHOLE = "#!/bin/sh\necho 'CREATE TABLE runs ();'\n"


def loaded(root: Path, **tools: str) -> tuple[int, list[str]]:
    """The exit code, and what psql was given, where `tools` are the programs."""
    for name, text in tools.items():
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    (root / "tmp").mkdir()
    env = {"PATH": f"{root}:{os.environ['PATH']}", "TMPDIR": str(root / "tmp")}
    run = subprocess.run(["sh", "-c", LOAD], env=env, check=False, timeout=30)  # noqa: S607
    return run.returncode, (root / "asked").read_text().splitlines()


def test_a_whole_dump_takes_the_place_of_all_that_is_there(tmp_path: Path) -> None:
    code, asked = loaded(tmp_path, pg_restore=WHOLE, psql=PSQL)
    assert code == 0
    assert asked == [
        "BEGIN; DROP OWNED BY CURRENT_USER CASCADE;",
        "CREATE TABLE runs ();",
        "COMMIT;",
    ]


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$"])
def test_a_dump_that_breaks_off_changes_nothing(tmp_path: Path, end: str) -> None:
    code, asked = loaded(tmp_path, pg_restore=WHOLE + end, psql=PSQL)
    assert code != 0
    assert asked[0].startswith("BEGIN;")
    assert "COMMIT;" not in asked


def test_words_that_postgresql_refuses_fail_it(tmp_path: Path) -> None:
    code, _ = loaded(tmp_path, pg_restore=WHOLE, psql=PSQL + "exit 3\n")
    assert code == 3
