"""Which stacks a change of files can affect."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from review.affected import HARMLESS, changed, chosen, known, stacks

PROJECT = Path(__file__).resolve().parents[2]
BOTH = ["dev", "prod"]


@pytest.mark.parametrize(
    ("files", "hit"),
    [
        ([], []),
        (["README.md", "docs/weights.md", "tests/unit/test_manifests.py"], []),
        ([".github/workflows/check.yml", "review/markdown.py", "bench/image.py"], []),
        (["Pulumi.prod.yaml", "README.md"], ["prod"]),
        (["Pulumi.dev.yaml", "Pulumi.prod.yaml"], BOTH),
        (["Pulumi.elsewhere.yaml"], []),
        (["Pulumi.yaml"], BOTH),
        (["components/manifests/route.py"], BOTH),
        (["policies/rules/images.py"], BOTH),
        (["policies/prod.json"], ["prod"]),
        (["policies/elsewhere.json"], []),
        (["policies/more/prod.json"], BOTH),
        (["requirements.txt"], BOTH),
        (["serving_image/slipway_runtime/app.py"], BOTH),
        (["serving_image/tests/test_app.py"], []),
        (["local/toolchain/addons/go.mod"], BOTH),
        (["a/Pulumi.dev.yaml"], BOTH),
        (["something/new.txt"], BOTH),
        (["README.md\nPulumi.dev.yaml"], BOTH),
    ],
)
def test_a_change_affects(files: list[str], hit: list[str]) -> None:
    assert stacks(files, BOTH) == hit


def test_nothing_that_the_program_reads_is_harmless() -> None:
    """Every file of the project that is part of a deployment affects every stack."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    files = listed.stdout.splitlines()
    parts = ("components/", "demo/", "serving_image/slipway_runtime/", "serving_image/Dockerfile")
    read = [
        name
        for name in files
        if name.startswith((*parts, "settings", "preflight", "__main__"))
        or name in ("Pulumi.yaml", "requirements.txt", "serving_image/requirements.txt")
    ]
    assert len(read) > 60
    assert [name for name in read if stacks([name], BOTH) != BOTH] == []
    assert [pattern for pattern in HARMLESS if pattern.startswith(("components", "policies"))] == []


def test_the_files_are_those_since_the_branches_parted(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@t.test"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (tmp_path / "Pulumi.dev.yaml").write_text("a")
    git("add", "-A")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "change")
    (tmp_path / "Pulumi.dev.yaml").rename(tmp_path / "Pulumi.prod.yaml")
    git("add", "-A")
    git("commit", "-qm", "two")
    git("checkout", "-q", "main")
    (tmp_path / "__main__.py").write_text("of main alone")
    git("add", "-A")
    git("commit", "-qm", "three")
    git("checkout", "-q", "change")
    assert changed("main", tmp_path) == ["Pulumi.dev.yaml", "Pulumi.prod.yaml"]
    assert known(tmp_path) == ["prod"]
    for bad in ("nope", "--output=x"):
        with pytest.raises(ValueError, match=f"^{bad}: [^\n]*$"):
            changed(bad, tmp_path)


def test_a_stack_that_is_not_there_is_named() -> None:
    assert chosen("", BOTH) == BOTH
    assert chosen("prod, dev", BOTH) == BOTH
    assert chosen("prod", BOTH) == ["prod"]
    with pytest.raises(ValueError, match=r"stack staging: has no Pulumi\.staging\.yaml"):
        chosen("dev,staging", BOTH)
