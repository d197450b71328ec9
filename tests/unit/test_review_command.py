"""The command behind `make preview`, tried with Pulumi itself on a project without providers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from review.command import CommandError, Wanted, _Watch, run
from tests.unit import pulumi_project

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import pulumi
config = pulumi.Config("slipway")
if config.get("mode") == "refuse":
    raise pulumi.RunError("slipway:models.churn.canary.weight: 110 is not a whole percentage")
class Server(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("slipway:index:ModelServer", name)
        self.register_outputs({})
Server(config.get("server") or "churn-v1")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an initialised stack `dev`, and an environment that leads to it."""
    return pulumi_project.make(tmp_path, PROGRAM, monkeypatch)


def pulumi(folder: Path, *arguments: str) -> None:
    subprocess.run(["pulumi", "--non-interactive", *arguments], cwd=folder, check=True)


def review(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command itself, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-m", "review", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_configuration_that_names_what_there_is_not_is_bad_input(project: Path) -> None:
    leave_out = shutil.ignore_patterns(".venv", "__pycache__")
    shutil.copytree(PROJECT / "policies", project / "policies", ignore=leave_out)
    (project / "policies/dev.json").write_text(
        json.dumps({"image-digst": {"by_tag": []}, "replicas": {"n": 1}})
    )
    done = review(project, "preview", "--stack", "dev")
    assert done.returncode == 2
    assert done.stderr == (
        "slipway: policies/dev.json: there is no policy image-digst; policies/dev.json: replicas: "
        "there is no knob n (there: minimum, single, may_sleep)\n"
    )


def test_a_preview_is_run_told_and_saved(project: Path) -> None:
    # What is not there has not drifted, and that is no good news.
    done = review(project, "drift")
    assert done.returncode == 2
    assert done.stderr == "slipway: dev: nothing is deployed in this stack yet; `pulumi up` first\n"

    said: list[str] = []
    name, found = run(Wanted(), said.append, project)
    assert name == "dev"
    assert said[0] == "starting"
    assert set(said[1:]) <= {"starting", "1 resources looked at, 1 to change"} | {
        f"{n} resources looked at, {n} to change" for n in (2, 3)
    }
    assert found.complete
    assert [step.name for step in found.steps if step.changes] == ["slipway-dev", "churn-v1"]

    done = review(project, "preview", "--markdown", "comment.md", "--save-plan", "plan.json")
    assert done.returncode == 0, done.stderr
    assert "dev: nothing changes" in done.stdout
    text = (project / "comment.md").read_text()
    assert text.startswith("<!-- slipway-preview:dev -->\n### `dev`: ")
    assert "+ slipway:index:ModelServer churn-v1 (a component)" in text
    assert json.loads((project / "plan.json").read_text())["resourcePlans"]

    # What was reviewed is what is applied: another program's update is refused.
    plan = ["up", "--yes", "--skip-preview", "--plan", "plan.json"]
    pulumi(project, "config", "set", "server", "churn-v2")
    with pytest.raises(subprocess.CalledProcessError):
        pulumi(project, *plan)
    pulumi(project, "config", "rm", "server")
    pulumi(project, *plan)

    assert review(project, "drift").returncode == 0


def test_a_pack_is_asked_as_the_stack_configures_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the file of the stack's name in the pack, whatever organization the stack is of."""
    log = tmp_path / "asked"
    fake = tmp_path / "bin/pulumi"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {log}\necho "{{}}"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("one", "two"):
        (project / name).mkdir()
        (project / name / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (project / "one/dev.json").write_text("{}")
    (project / "Pulumi.prod.yaml").write_text("config: {}\n")
    one, two, given = Path("one"), Path("two"), Path("given.json")
    for wanted, asked in (
        (Wanted("acme/slipway/dev", [one]), [Path("one/dev.json")]),
        (Wanted("dev", [one], [given]), [given]),
        (Wanted("prod", [one]), []),
        (Wanted("dev", [one, two]), []),
    ):
        log.unlink(missing_ok=True)
        run(wanted, print, project)
        words = log.read_text().split()
        found = [Path(b) for a, b in zip(words, words[1:], strict=False) if a.endswith("-config")]
        assert found == asked


def test_each_line_of_the_log_is_counted_once(tmp_path: Path) -> None:
    log = tmp_path / "events"
    watch = _Watch(log)
    assert watch.look() == ""
    line = json.dumps({"resourcePreEvent": {"metadata": {"op": "update"}}})
    log.write_text(f"{line}\n{line[:20]}")
    assert watch.look() == "1 resources looked at, 1 to change"
    with log.open("a") as stream:
        stream.write(f"{line[20:]}\n{line.replace('update', 'same')}\nnothing\n")
    assert watch.look() == "3 resources looked at, 2 to change"
    assert watch.look() == "3 resources looked at, 2 to change"


def test_a_program_that_refuses_fails_the_preview_and_says_why(project: Path) -> None:
    pulumi(project, "config", "set", "mode", "refuse")
    done = review(project, "preview", "--markdown", "comment.md")
    assert done.returncode == 1
    line = "slipway:models.churn.canary.weight: 110 is not a whole percentage"
    assert line in done.stdout
    assert "**The preview failed**" in (project / "comment.md").read_text()
    assert line in (project / "comment.md").read_text()
    assert "Traceback" not in done.stdout + done.stderr


def test_a_policy_that_crashes_is_no_pass(project: Path) -> None:
    pack = project / "policies"
    pack.mkdir()
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    (pack / "PulumiPolicy.yaml").write_text(yaml.safe_dump({"runtime": runtime}))
    (pack / "__main__.py").write_text('raise ValueError("a broken rule")')
    # The project's own pack is asked without being named.
    done = review(project, "preview")
    assert done.returncode == 1
    assert "failed to start" in done.stdout
    assert "not every policy was asked" in done.stdout
    assert "no policy objects" not in done.stdout


def test_a_mistake_is_one_line_with_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(line: str, *arguments: str) -> None:
        done = review(project, "preview", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("slipway: ")
        assert line in done.stderr
        assert done.stderr.count("\n") == 1

    refused("nope: there is no Pulumi.nope.yaml", "--stack", "nope")
    (project / "Pulumi.nope.yaml").write_text("config: {}\n")
    refused("there is no such stack", "--stack", "nope")
    refused("no-pack: is no policy pack", "--policy-pack", "no-pack")
    pulumi(project, "stack", "unselect")
    refused("no stack is selected")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "y")
    refused("PULUMI_CONFIG_PASSPHRASE: is not the stack's", "--stack", "dev")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///no/such/place")
    refused("nothing is deployed from here yet; `make up` first", "--stack", "dev")


def test_without_pulumi_the_remedy_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError, match=r"is not on PATH; .*make -s env"):
        run(Wanted("dev"), print, project)
