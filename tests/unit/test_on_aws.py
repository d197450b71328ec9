"""The environment of a stack on AWS: the project's tools, the user's own account and state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local import __main__ as command
from local import on_aws, tools
from local.console import UserError
from local.instance import state_root
from tests.conftest import ROOT

TOOLS = {
    "PATH": "/tools:/usr/bin",
    "PULUMI_HOME": "/cache/pulumi",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("config:\n  slipway:aws:\n    region: eu-central-1\n", True),
        ("config:\n  'slipway:aws': {}\n", True),
        ('config: \n  "slipway:aws" : {}\n', True),
        ("config:\n  # slipway:aws: here is none\n  slipway:context: x\n", False),
        ("config:\n  slipway:awsome: 1\n", False),
    ],
)
def test_a_stack_is_on_aws_where_its_file_says_so(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text(text)
    assert on_aws.is_on_aws("prod", tmp_path) is found


def test_a_stack_without_a_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^STACK: staging: there is no Pulumi.staging.yaml; make"):
        on_aws.is_on_aws("staging", tmp_path)


def test_state_secrets_and_account_stay_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "DOCKER_CONFIG", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://states")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    ours = {"PULUMI_BACKEND_URL": "file:///ours", "PULUMI_CONFIG_PASSPHRASE_FILE": "/ours"}
    assert on_aws.environment(TOOLS | ours) == {
        "PATH": "/tools:/usr/bin",
        "PULUMI_HOME": "/cache/pulumi",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": None,
    }


def test_what_a_one_machine_cluster_left_in_the_shell_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    home = f"{state_root()}/dev"
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{home}/pulumi")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", f"{state_root()}/passphrase")
    monkeypatch.setenv("KUBECONFIG", f"{home}/kubeconfig")
    monkeypatch.setenv("DOCKER_CONFIG", f"{home}/docker")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    gone = {name for name, value in on_aws.environment(TOOLS).items() if value is None}
    assert gone == {
        "DOCKER_CONFIG",
        "KUBECONFIG",
        "MLFLOW_TRACKING_URI",
        "PULUMI_BACKEND_URL",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION",
    }


def test_up_is_not_for_it() -> None:
    """Whoever updates production looks at the preview first."""
    command = [sys.executable, "-m", "local", "up", "--stack", "prod"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make preview STACK=prod" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "cluster"),
    [([], True), (["--aws"], False), (["--stack", "prod"], False), (["--stack", "dev"], True)],
)
def test_what_is_for_aws_alone_makes_no_tool_of_the_one_machine_cluster(
    arguments: list[str], cluster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def install(*, cluster: bool) -> dict[str, float]:
        asked.append(cluster)
        return {}

    monkeypatch.setattr(tools, "install", install)
    monkeypatch.setattr(sys, "argv", ["local", "tools", *arguments])
    command.main()
    assert asked == [cluster]


@pytest.mark.parametrize("goal", ["state-bucket", "prices"])
def test_what_names_no_stack_says_that_it_is_for_aws(goal: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", goal, "REGION=eu-central-1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-m local tools --aws\n" in done.stdout
