"""The command line: every command has its help, and a mistake is one line and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rollout.__main__ import main

STACK = """config:
  slipway:context: test
  slipway:registry: registry.test:5000
  slipway:models:
    churn: {stable: 1}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(STACK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--stack", "dev", *arguments])


def refused(*arguments: str) -> str:
    """The line of a command that is refused."""
    found = call(*arguments)
    assert found.exit_code == 2, (found.output, found.exception)
    lines = found.stderr.splitlines()
    assert lines and all(line.startswith("slipway: ") for line in lines), found.output
    return found.stderr


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_says_what_it_does(command: str) -> None:
    found = call(command, "--help")
    assert found.exit_code == 0
    assert len(found.output.splitlines()) > 5


@pytest.mark.parametrize(
    "command", ["release nope 1", "run nope", "step nope", "pause nope", "rollback nope"]
)
def test_an_unknown_model_is_named_with_those_there_are(project: Path, command: str) -> None:
    assert "nope: is no model of this stack (there: churn)" in refused(*command.split())


@pytest.mark.parametrize("command", ["pause churn", "promote churn", "approve churn x"])
def test_without_a_rollout_there_is_nothing_to_order(project: Path, command: str) -> None:
    assert "has no rollout" in refused(*command.split())


def test_status_and_history_of_nothing(project: Path) -> None:
    assert "no rollout" in call("status").output
    assert call("history", "churn").exit_code == 0
    assert "(there: none)" in refused("report", "churn")


def test_a_stack_that_is_not_there(project: Path) -> None:
    found = CliRunner().invoke(main, ["--stack", "nosuch", "status"])
    assert found.exit_code == 2
    assert "Pulumi.nosuch.yaml" in found.stderr
    assert "Traceback" not in found.output


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no Pulumi.yaml here or above" in refused("status")


def test_a_configuration_with_faults_gets_a_line_for_each(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(STACK.replace("stable: 1", "stable: 0, rollout: {steps: [50, 5]}"))
    told = refused("status")
    assert "models.churn.stable: 0 is not a version" in told
    assert "models.churn.rollout.steps: [50, 5] is not a list of rising whole percentages" in told


def test_a_project_file_that_makes_no_sense(project: Path) -> None:
    (project / "Pulumi.yaml").write_text("name: [")
    assert "Pulumi.yaml" in refused("status")


def test_a_journal_that_makes_no_sense_is_named_and_hides_no_other_model(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text(STACK + "    iris: {stable: 1}\n")
    place = project / ".slipway/rollouts/dev/churn"
    place.mkdir(parents=True)
    (place / "journal.jsonl").write_text(json.dumps({"kind": "end", "seq": 1, "at": 1}) + "\n")
    found = call("status")
    assert found.exit_code == 0
    assert "iris" in found.output
    assert str(place) in found.stderr and "move that directory away" in found.stderr
    assert "move that directory away" in refused("history", "churn")


def test_a_journal_that_cannot_be_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").write_text("")
    monkeypatch.setenv("SLIPWAY_JOURNAL", str(project / "file"))
    refused("run", "churn")


def test_simulate_compares_the_rule_with_flaggers() -> None:
    found = CliRunner().invoke(main, ["simulate", "--rollouts", "100", "--rate", "50", "--json"])
    assert found.exit_code == 0, (found.output, found.exception)
    rows = json.loads(found.stdout)["rows"]
    assert {row["rule"] for row in rows} >= {"slipway"}
    assert len(rows) == 6
    good = [row for row in rows if row["rule"] == "slipway" and row["version"] == "good"]
    assert good[0]["promoted"] > 0.9


@pytest.mark.parametrize("option", ["--gap", "--stop"])
def test_simulate_names_a_stretch_that_is_none(option: str) -> None:
    assert "is not a stretch of minutes such as 5-8" in refused("simulate", option, "8-5")


def test_simulate_replays_recorded_traffic(tmp_path: Path) -> None:
    lines = ["seconds,requests,errors,slow", *(f"{10 * i},{400 + i},4,2" for i in range(60))]
    file = tmp_path / "series.csv"
    file.write_text("\n".join(lines) + "\n")
    found = CliRunner().invoke(
        main, ["simulate", "--rollouts", "100", "--replay", str(file), "--json"]
    )
    assert found.exit_code == 0, (found.output, found.exception)
    file.write_text("seconds,requests\nx,y\n")
    assert "--replay" in refused("simulate", "--replay", str(file))
