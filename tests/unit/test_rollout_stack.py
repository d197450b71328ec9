"""The stack adapter, tried with Pulumi itself on a project without providers."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout.adapters import automation
from rollout.adapters.configuration import ConfigurationError, Roles, roles
from rollout.adapters.diagnostics import LONGEST, failure
from rollout.adapters.stack import Stack, StackError, UpdateError
from tests.unit import pulumi_project

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, pathlib, time
import pulumi
config = pulumi.Config("slipway")
models = json.loads(config.get("models") or "{}")
mode = config.get("mode") or ""
class Server(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("slipway:index:ModelServer", name)
        self.register_outputs({})
pathlib.Path("runs").open("a").write("run\\n")
if mode.startswith("sleep"):
    time.sleep(float(mode[5:]))
if mode == "refuse":
    raise pulumi.RunError("slipway:models.churn.stable: 9 is not a registered version of churn")
if mode == "crash":
    raise ValueError("no such thing")
for name, model in models.items():
    for version in (model["stable"], (model.get("canary") or {}).get("version")):
        if version:
            Server(f"{name}-v{version}")
pulumi.export("token", pulumi.Output.secret("s3cr3t"))
pulumi.export("models", {
    name: {
        "url": "u", "stable": model["stable"],
        "canary": (model.get("canary") or {}).get("version"),
        "weight": (model.get("canary") or {}).get("weight", 0),
        "shadow": (model.get("shadow") or {}).get("version"),
        "floors": model.get("floors"),
    }
    for name, model in models.items()
})
"""
SETTINGS = """\
config:
  slipway:models:
    churn:
      stable: 1   # since March
      canary: {version: 2, weight: 10}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an initialised stack `dev`, and an environment that leads to it."""
    folder = pulumi_project.make(tmp_path, PROGRAM, monkeypatch)
    file = folder / "Pulumi.dev.yaml"
    file.write_text(SETTINGS + file.read_text())
    return folder


def pulumi(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["pulumi", "--non-interactive", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def mode(folder: Path, value: str) -> None:
    pulumi(folder, "config", "set", "mode", value, "--stack", "dev")


def locks(folder: Path) -> list[Path]:
    return list((folder.parent / "state/.pulumi/locks").rglob("*.json"))


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def no_log(line: str) -> None:
    """Nobody listens."""


def test_a_step_is_written_deployed_and_read_back(project: Path) -> None:
    stack = Stack(project, "dev")
    assert stack.deployed("churn") is None
    assert stack.read_roles("churn") == Roles(1, 2, 10)
    lines: list[str] = []
    stack.update(lines.append)
    assert any("churn-v2 creating" in line for line in lines)
    assert not any("s3cr3t" in line or "\x1b" in line for line in lines)
    assert stack.deployed("churn") == Roles(1, 2, 10)
    assert stack.deployed("iris") is None
    assert stack.preview() == []

    stack.write_roles("churn", Roles(1, 3, 25, None, (4, 30), ((1, 6), (3, 2))))
    assert "stable: 1   # since March" in stack.file.read_text()
    changes = stack.preview()
    assert ("create", "slipway:index:ModelServer", "churn-v3") in changes
    assert ("delete", "slipway:index:ModelServer", "churn-v2") in changes
    assert stack.deployed("churn") == Roles(1, 2, 10)
    stack.update(no_log)
    assert stack.deployed("churn") == Roles(1, 3, 25, None, (4, 30), ((1, 6), (3, 2)))
    assert "s3cr3t" not in json.dumps(stack.outputs())


def test_what_a_kill_left_half_written_is_no_obstacle(project: Path) -> None:
    stack = Stack(project, "dev")
    stack.update(no_log)
    state = project.parent / "state/.pulumi"
    # As if Pulumi had been killed between making each of these files and writing it.
    described = [file for file in state.glob("stacks/**/*.attrs") if file.stat().st_size]
    assert described
    for file in described:
        file.write_text("")
    with pytest.raises(AssertionError, match="EOF"):
        pulumi(project, "stack", "output", "--stack", "dev")
    assert stack.deployed("churn") == Roles(1, 2, 10)
    for file in described:
        file.write_text("")
    stack.update(no_log)
    assert stack.preview() == []


def test_the_selected_stack_is_the_default_and_stays_selected(project: Path) -> None:
    (project / "Pulumi.other.yaml").write_text(SETTINGS.replace("stable: 1", "stable: 3"))
    pulumi(project, "stack", "init", "other", "--no-select")
    stack = Stack(project)
    assert (stack.name, stack.file.name) == ("dev", "Pulumi.dev.yaml")
    Stack(project, "other").update(no_log)
    assert stack.current() == "dev"
    assert Stack(project, "other").deployed("churn") == Roles(3, 2, 10)


def test_what_lacks_in_the_environment_is_one_line_with_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(stack: Stack, line: str) -> None:
        for call in (lambda: stack.update(no_log), stack.preview):
            with pytest.raises(StackError, match=line) as error:
                call()
            assert "\n" not in str(error.value)
            assert 'eval "$(make -s env)"' in str(error.value)

    refused(Stack(project, "nope"), "nope: there is no such stack")
    with pytest.raises(StackError, match="nope: there is no such stack"):
        Stack(project, "nope").outputs()
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    pulumi_yaml = project / "Pulumi.dev.yaml"
    refused(Stack(project, "dev"), "PULUMI_CONFIG_PASSPHRASE: is not set")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "y")
    refused(Stack(project, "dev"), "PULUMI_CONFIG_PASSPHRASE: is not the stack's")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///no/such/place")
    refused(Stack(project, "dev"), "PULUMI_BACKEND_URL: unable to open state directory")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    refused(Stack(project, "dev"), "pulumi: is not on PATH")
    assert pulumi_yaml.read_text().startswith("encryptionsalt") or roles(
        pulumi_yaml.read_text(), "churn"
    ) == Roles(1, 2, 10)


def test_no_stack_selected_is_one_line(project: Path) -> None:
    shutil.rmtree(project.parent / "home/workspaces", ignore_errors=True)
    with pytest.raises(StackError, match="no stack is selected; pulumi stack select"):
        Stack(project).read_roles("churn")


def test_a_program_that_fails_is_quoted(project: Path) -> None:
    mode(project, "refuse")
    with pytest.raises(UpdateError) as error:
        Stack(project, "dev").update(no_log)
    refusal = "slipway:models.churn.stable: 9 is not a registered version of churn"
    assert (str(error.value), error.value.kind) == (refusal, "failed")
    mode(project, "crash")
    with pytest.raises(
        UpdateError, match=r'^ValueError: no such thing \(File ".*__main__'
    ) as error:
        Stack(project, "dev").update(no_log)
    assert error.value.kind == "failed"
    with pytest.raises(UpdateError, match="^ValueError: no such thing"):
        Stack(project, "dev").preview()
    assert not locks(project)


def test_a_backend_that_does_not_answer_is_unreachable(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://127.0.0.1:9")
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-" + "0" * 40)
    for call in (Stack(project, "dev").outputs, lambda: Stack(project, "dev").update(no_log)):
        with pytest.raises(UpdateError, match="connection refused") as error:
            call()
        assert error.value.kind == "unreachable"
        assert "0000" not in str(error.value)


def test_a_hung_update_is_interrupted_and_frees_its_lock(project: Path) -> None:
    mode(project, "sleep60")
    started = time.monotonic()
    with pytest.raises(UpdateError, match="was not done in 3 s; it was interrupted") as error:
        Stack(project, "dev", update_seconds=3).update(no_log)
    assert error.value.kind == "unreachable"
    assert time.monotonic() - started < 20
    assert not locks(project)
    mode(project, "")
    Stack(project, "dev").update(no_log)


def test_what_cannot_be_interrupted_is_killed_and_taken_up(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "GRACE_SECONDS", 0.0)
    mode(project, "sleep60")
    with pytest.raises(UpdateError, match="interrupted"):
        Stack(project, "dev", update_seconds=3).update(no_log)
    assert locks(project)
    mode(project, "")
    lines: list[str] = []
    Stack(project, "dev").update(lines.append)
    assert lines[0] == "stack dev: an earlier update was killed; taking up from there"
    assert not locks(project)


def test_another_update_is_waited_for(project: Path) -> None:
    mode(project, "sleep4")
    other = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "dev"],
        cwd=project,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: locks(project))
    with pytest.raises(UpdateError, match=f"process {other.pid} is updating it") as error:
        Stack(project, "dev", lock_seconds=0).update(no_log)
    assert error.value.kind == "locked"
    lines: list[str] = []
    Stack(project, "dev").update(lines.append)
    assert lines[0].startswith(f"waiting: stack dev: process {other.pid} is updating it")
    assert other.wait() == 0
    assert (project / "runs").read_text().count("run") == 2


def test_an_update_whose_rollout_is_killed_is_finished_and_waited_for(project: Path) -> None:
    mode(project, "sleep3")
    code = (
        "import sys; from pathlib import Path; from rollout.adapters.stack import Stack\n"
        "Stack(Path(sys.argv[1]), 'dev').update(print)"
    )
    rollout = subprocess.Popen(
        [sys.executable, "-c", code, project], cwd=PROJECT, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: locks(project) and (project / "runs").exists())
    rollout.send_signal(signal.SIGKILL)
    rollout.wait()
    lines: list[str] = []
    stack = Stack(project, "dev")
    stack.write_roles("churn", Roles(1, 2, 20))
    stack.update(lines.append)
    assert lines[0].startswith("waiting: stack dev: process ")
    assert not any("killed" in line for line in lines)
    history = json.loads(pulumi(project, "stack", "history", "--json", "--stack", "dev"))
    assert [entry["result"] for entry in history] == ["succeeded", "succeeded"]
    assert stack.deployed("churn") == Roles(1, 2, 20)


def test_an_interrupted_rollout_interrupts_its_update_in_good_order(project: Path) -> None:
    mode(project, "sleep60")
    code = (
        "import sys; from pathlib import Path; from rollout.adapters.stack import Stack\n"
        "Stack(Path(sys.argv[1]), 'dev').update(print)"
    )
    rollout = subprocess.Popen(
        [sys.executable, "-c", code, project],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell's background job, as this may be one of, ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: locks(project) and (project / "runs").exists())
    rollout.send_signal(signal.SIGINT)
    rollout.wait(30)
    assert not locks(project)


def test_a_file_that_was_changed_meanwhile_is_left_alone(project: Path) -> None:
    stack = Stack(project, "dev")
    stack.read_roles("churn")
    before = stack.file.read_text()
    theirs = before.replace("weight: 10", "weight: 50")
    stack.file.write_text(theirs)
    with pytest.raises(ConfigurationError, match="has changed since it was read"):
        stack.write_roles("churn", Roles(1, 2, 25))
    assert stack.file.read_text() == theirs
    assert stack.read_roles("churn") == Roles(1, 2, 50)
    stack.write_roles("churn", Roles(1, 2, 25))
    stack.write_roles("churn", Roles(1, 2, 30))
    assert stack.file.read_text() == before.replace("weight: 10", "weight: 30")


def test_a_write_keeps_mode_line_ends_and_links(project: Path) -> None:
    real = project / "real.yaml"
    real.write_bytes(SETTINGS.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    stack = Stack(project, "dev")
    stack.file.unlink()
    stack.file.symlink_to(real)
    stack.write_roles("churn", Roles(1, 2, 25))
    assert stack.file.is_symlink()
    assert real.stat().st_mode & 0o7777 == 0o640
    assert real.read_bytes().decode() == SETTINGS.replace("10}", "25}").replace("\n", "\r\n")
    assert not list(project.glob(".*partial"))


def test_a_file_that_is_not_there_is_one_line(project: Path) -> None:
    (project / "Pulumi.dev.yaml").unlink()
    for call in (
        lambda: Stack(project, "dev").read_roles("churn"),
        lambda: Stack(project, "dev").write_roles("churn", Roles(1)),
    ):
        with pytest.raises(ConfigurationError, match=r"Pulumi\.dev\.yaml: cannot be read"):
            call()


UNREACHABLE = """Updating (dev):

    kubernetes:core/v1:Namespace models  error: Preview failed
Diagnostics:
  kubernetes:core/v1:Namespace (models):
    error: configured Kubernetes cluster is unreachable: unable to load schema information from \
the API server: Get "https://127.0.0.1:6443/openapi/v2?timeout=32s": dial tcp 127.0.0.1:6443: \
connect: connection refused

  pulumi:pulumi:Stack (slipway-dev):
    error: update failed

Resources:
    12 unchanged

Duration: 4s
"""
NOT_READY = """Diagnostics:
  pulumi:pulumi:Stack (slipway-dev):
    error: update failed

  kubernetes:apps/v1:Deployment (churn-v3-server):
    warning: something else
    error: 2 errors occurred:
      * the Kubernetes API server reported that "models/churn-v3" failed to fully initialize \
or become live: 'churn-v3' timed out waiting to be Ready
      * [Pod churn-v3-1]: Readiness probe failed: dial tcp 10.244.0.9:8080: connect: \
connection refused

Resources:
    1 errored
"""
PREFLIGHT = """Diagnostics:
  pulumi:pulumi:Stack (slipway-dev):
    error: slipway:context: the API server of "slipway" at https://127.0.0.1:6443 does not answer \
(Connection refused); start the one-machine cluster with `make up`
    error: an unhandled error occurred: program exited with non-zero exit code: 1
"""


@pytest.mark.parametrize(
    ("output", "errors", "line", "kind"),
    [
        (UNREACHABLE, "", "models: configured Kubernetes cluster is unreachable: ", "unreachable"),
        (NOT_READY, "", "churn-v3-server: 2 errors occurred: * the Kubernetes API", "failed"),
        (PREFLIGHT, "", 'slipway:context: the API server of "slipway" at https', "unreachable"),
        ("", "error: update failed", "update failed", "failed"),
        ("", "", "Pulumi ended without a word", "failed"),
        ("", "panic: oh\n\ngoroutine 1\n", "goroutine 1", "failed"),
        ("Updating (dev):\nkilled\n", "", "killed", "failed"),
        (
            "",
            "error: [409] Conflict: Another update is currently in progress.\n",
            "[409] Conflict: Another update is currently in progress.",
            "locked",
        ),
        (
            "",
            'error: read ".pulumi/meta.yaml": operation error S3: GetObject, https response error '
            'StatusCode: 0, request send failed, Get "http://127.0.0.1:9/b": dial tcp 127.0.0.1:9: '
            "connect: connection refused",
            'read ".pulumi/meta.yaml": operation error S3',
            "unreachable",
        ),
    ],
)
def test_the_telling_line_and_the_kind(output: str, errors: str, line: str, kind: str) -> None:
    found = failure(output, errors)
    assert found[0].startswith(line)
    assert found[1] == kind
    assert "\n" not in found[0]


def test_a_failure_is_of_bounded_length() -> None:
    many = "Diagnostics:\n" + "".join(
        f"  kubernetes:v1:Pod (pod-{number}):\n    error: {'x' * 300}\n\n" for number in range(9)
    )
    line, kind = failure(many, "")
    assert len(line) == LONGEST
    assert line.startswith("pod-0: xxx")
    assert line.endswith("… (and 6 more)")
    assert kind == "failed"
