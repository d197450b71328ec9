"""The workflows keep what the project promises of them; actionlint, in `make check`, the rest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import toolkit
from review.affected import known

PROJECT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((PROJECT / ".github/actions").glob("*/action.yml"))
GITLAB = PROJECT / ".gitlab-ci.yml"


def read(file: Path) -> dict[Any, Any]:
    found = yaml.safe_load(file.read_text())
    assert isinstance(found, dict)
    return found


def steps(file: Path) -> list[dict[str, Any]]:
    whole = read(file)
    jobs = list(whole["jobs"].values()) if "jobs" in whole else [whole["runs"]]
    return [step for job in jobs for step in job["steps"]]


def test_there_are_the_four_of_them() -> None:
    assert [file.stem for file in WORKFLOWS] == ["check", "deploy", "drift", "preview"]
    assert known(PROJECT)


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: file.parts[-2:])
def test_actions_are_pinned_and_scripts_hold_no_expression(file: Path) -> None:
    text = file.read_text()
    for line in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(
            r"\./\.github/actions/[a-z]+|[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", line
        )
    for step in steps(file):
        # An expression in a script is text of a stranger that a shell runs.
        assert "${{" not in step.get("run", ""), step
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_a_release_has_one_commit_in_all_files() -> None:
    pins = re.findall(
        r"uses: (\S+)@(\S+) # (\S+)", "".join(f.read_text() for f in WORKFLOWS + ACTIONS)
    )
    assert len(pins) > 10
    for action, commit, release in pins:
        assert {(c, r) for a, c, r in pins if a == action} == {(commit, release)}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_least_permissions(file: Path) -> None:
    whole = read(file)
    # PyYAML takes `on` for a boolean.
    assert "pull_request_target" not in str(whole[True])
    assert "workflow_run" not in str(whole[True])
    assert whole["permissions"] in ({}, {"contents": "read"})
    assert whole["concurrency"]["group"]
    for name, job in whole["jobs"].items():
        assert job["timeout-minutes"] <= 120
        granted = job.get("permissions", whole["permissions"])
        assert granted.get("contents") == "read"
        writes = {key for key, value in granted.items() if value == "write"}
        allowed = {
            "comment": {"pull-requests"},
            "tell": {"issues"},
            "preview": {"id-token"},
            "drift": {"id-token"},
            "dev": {"id-token"},
            "plan": {"id-token"},
            "prod": {"id-token"},
        }
        assert writes == allowed.get(name, set())
        # Who may write to GitHub neither builds nor reaches anything.
        if writes & {"pull-requests", "issues"}:
            assert all(s.get("uses", "actions/").startswith("actions/") for s in job["steps"])
            assert "secrets." not in str(job)
            assert "make " not in str(job)


def test_a_fork_gets_no_secret() -> None:
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    preview = read(PROJECT / ".github/workflows/preview.yml")["jobs"]
    assert same in preview["stacks"]["if"]
    # The others need it, and are left out with it.
    assert preview["preview"]["needs"] == "stacks"
    assert preview["comment"]["needs"] == "preview"
    check = read(PROJECT / ".github/workflows/check.yml")
    assert "secrets." not in str(check)
    assert same in check["jobs"]["test"]["if"]


def test_what_was_reviewed_is_what_is_applied() -> None:
    jobs = read(PROJECT / ".github/workflows/deploy.yml")["jobs"]
    assert (jobs["plan"]["needs"], jobs["prod"]["needs"]) == ("dev", "plan")
    assert jobs["prod"]["environment"] == "prod"
    assert jobs["plan"]["environment"] != "prod"
    for name in ("dev", "prod"):
        scripts = [step["run"] for step in jobs[name]["steps"] if "run" in step]
        applied = [script for script in scripts if "make apply" in script]
        assert len(applied) == 1
        assert "PLAN=plan.json" in applied[0]
        assert not any("pulumi up" in script for script in scripts)
        assert scripts[-1].startswith("make smoke")


def test_workflows_call_what_people_call() -> None:
    targets = set(re.findall(r"^([a-z- ]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    there = {name for line in targets for name in line.split()}
    called = set()
    for file in [*WORKFLOWS, *ACTIONS, GITLAB]:
        called |= set(re.findall(r"make (?:-s )?([a-z-]+)", file.read_text()))
    assert called >= {"check", "test-quick", "preview", "apply", "smoke", "tools", "env"}
    assert called <= there


def test_gitlab_asks_for_the_token_in_the_last_job_alone() -> None:
    whole = read(GITLAB)
    jobs = {name: job for name, job in whole.items() if isinstance(job, dict) and "script" in job}
    assert "SLIPWAY_GITLAB_TOKEN" in str(jobs["comment"])
    assert [n for n, job in jobs.items() if "SLIPWAY_GITLAB_TOKEN" in str(job)] == ["comment"]
    for name in ("preview-dev", "preview-prod", "comment"):
        for rule in whole[name]["rules"]:
            assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]


def test_gitlab_posts_by_the_target_branch_alone(tmp_path: Path) -> None:
    """The job's own lines, on a change whose files stand in the way of the program's."""
    there, job = tmp_path / "there", tmp_path / "job"
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]

    def git(*arguments: str, at: Path) -> None:
        subprocess.run(["git", *author, *arguments], cwd=at, check=True, capture_output=True)

    (there / "review").mkdir(parents=True)
    (there / "review/__init__.py").write_text("")
    (there / "review/post.py").write_text("import argparse, sys\nprint('posted', *sys.argv[1:])\n")
    git("init", "--quiet", "--initial-branch", "main", at=there)
    git("add", ".", at=there)
    git("commit", "--quiet", "--message", "target", at=there)
    git("clone", "--quiet", str(there), str(job), at=tmp_path)
    (job / "argparse.py").write_text("print('the change runs')\n")
    (job / "review/post").mkdir()
    (job / "review/post/__init__.py").write_text("")
    (job / "review/post/__main__.py").write_text("print('the change runs')\n")
    git("add", ".", at=job)
    git("commit", "--quiet", "--message", "change", at=job)
    (job / "comment-dev.md").write_text("a comment")
    environment = {
        "PATH": os.environ["PATH"],
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_PROJECT_DIR": str(job),
    }
    script = "\n".join(["set -e", *read(GITLAB)["comment"]["script"]])
    done = subprocess.run(
        ["sh", "-c", script], cwd=job, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "the change runs" not in done.stdout
    assert f"posted comment 7 {job}/comment-dev.md\n" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("timeout-minutes: 60", "timeout-minuts: 60", 'unexpected key "timeout-minuts"'),
        ("context: ${{ vars.KUBE_CONTEXT }}", "contxt: x", 'input "contxt" is not defined'),
        ("needs: stacks", "needs: stakcs", 'needs job "stakcs" which does not exist'),
        ("cron: ", "corn: ", 'unexpected key "corn"'),
    ],
)
def test_a_key_that_nobody_knows_fails_the_check_with_its_name(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    """The actionlint that `make check` runs, on a workflow with a mistake."""
    shutil.copytree(PROJECT / ".github", tmp_path / ".github")
    (tmp_path / ".git").mkdir()
    file = tmp_path / ".github/workflows/drift.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    lint = [str(toolkit.LINKS / "bin/actionlint"), "-shellcheck=", "-pyflakes=", "-no-color"]
    done = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stdout
