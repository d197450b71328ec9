"""What `make up` says before it makes anything: one line that names the remedy."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
import yaml

from tests.e2e import harness
from tests.e2e.harness import PORTS, Done, Walk

# Ports that are free though the instance `test` may run.
FREE = {f"SLIPWAY_PORT_{name.upper()}": str(port + 10000) for name, port in PORTS.items()}


def assert_one_line(done: Done, *parts: str) -> None:
    """The command failed with one line of its own on stderr, which holds these parts."""
    assert done.code == 1, done.text
    assert "Traceback" not in done.text
    lines = done.lines("slipway:")
    assert len(lines) == 1, done.text
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("key", ["gateway", "api"])
def test_port_in_use(copied: Walk, key: str) -> None:
    """A port that another program has is named with the variable that chooses another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        variable = f"SLIPWAY_PORT_{key.upper()}"
        environment = FREE | {"SLIPWAY_INSTANCE": "busy", variable: str(port)}
        done = copied.local("up", check=False, env=environment)
    assert_one_line(done, f"127.0.0.1:{port} ({key})", "in use", f"{variable}=")
    assert "pulumi" not in done.out
    copied.local("down", env={"SLIPWAY_INSTANCE": "busy"})
    assert not (copied.home / "state/busy").exists()


@pytest.mark.parametrize(
    ("arguments", "missing", "given"),
    [
        (["--context", "kind-kind"], "REGISTRY", "CONTEXT"),
        (["--registry", "localhost:5001"], "CONTEXT", "REGISTRY"),
    ],
)
@pytest.mark.parametrize("command", ["up", "down"])
def test_half_an_existing_cluster(
    copied: Walk, command: str, arguments: list[str], missing: str, given: str
) -> None:
    """CONTEXT and REGISTRY come together or not at all."""
    done = copied.local(command, *arguments, check=False)
    assert_one_line(done, f"{missing}: missing beside {given}")


@pytest.mark.parametrize("name", ["Test", "a-b", "7up", "muchtoolong", "../dev"])
def test_bad_instance_name(copied: Walk, name: str) -> None:
    """An instance's name ends up in names of links and directories."""
    done = copied.local("up", check=False, env={"SLIPWAY_INSTANCE": name})
    assert_one_line(done, "SLIPWAY_INSTANCE", repr(name))


@pytest.mark.parametrize("port", ["80", "http", "70000"])
def test_bad_port(copied: Walk, port: str) -> None:
    """A port is a number that needs no privilege."""
    done = copied.local("up", check=False, env={"SLIPWAY_PORT_MLFLOW": port})
    assert_one_line(done, "SLIPWAY_PORT_MLFLOW", repr(port))


def test_one_port_twice(copied: Walk) -> None:
    """Two entrances cannot share a port."""
    done = copied.local("up", check=False, env={"SLIPWAY_PORT_MLFLOW": "18080"})
    assert_one_line(done, "SLIPWAY_PORT_", "18080")


def test_not_root(copied: Walk) -> None:
    """Without root there is no cluster; the other way is named."""
    # In a process that is another user from the start, but may read the copy and the tools.
    code = (
        "import os; os.geteuid = lambda: 65534\n"
        "import sys; sys.argv = ['local', 'up']\n"
        "from local.__main__ import main; from local.console import run_cli; run_cli(main)"
    )
    done = harness.run(
        [str(copied.project / ".venv/bin/python"), "-c", code],
        copied.environment | FREE | {"SLIPWAY_INSTANCE": "nobody"},
        cwd=copied.project,
        check=False,
    )
    assert_one_line(done, "must run as root", "make up CONTEXT=")
    copied.local("down", env={"SLIPWAY_INSTANCE": "nobody"})


def test_no_room(copied: Walk) -> None:
    """A full disk is said before the cluster starts."""
    code = (
        "import shutil; from collections import namedtuple\n"
        "shutil.disk_usage = lambda _: namedtuple('U', 'total used free')(9, 9, 2**30)\n"
        "import sys; sys.argv = ['local', 'up']\n"
        "from local.__main__ import main; from local.console import run_cli; run_cli(main)"
    )
    done = harness.run(
        [str(copied.project / ".venv/bin/python"), "-c", code],
        copied.environment | FREE | {"SLIPWAY_INSTANCE": "full"},
        cwd=copied.project,
        check=False,
    )
    assert_one_line(done, "disk: 1.0 GiB free", "SLIPWAY_STATE")
    copied.local("down", env={"SLIPWAY_INSTANCE": "full"})


def test_no_cluster(copied: Walk) -> None:
    """Pulumi alone, with no cluster to go to, names the key and the command that starts one."""
    home = copied.home / "state/none"
    shutil.rmtree(home, ignore_errors=True)
    (home / "pulumi").mkdir(parents=True)
    environment = copied.environment | {
        "PULUMI_BACKEND_URL": f"file://{home}/pulumi",
        "PULUMI_CONFIG_PASSPHRASE": "for this test alone",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "KUBECONFIG": str(home / "kubeconfig"),
        "PATH": f"{harness.ROOT}/.slipway/bin:{copied.environment['PATH']}",
    }

    def pulumi(*words: str, check: bool = True, stdin: str = "") -> Done:
        command = ["pulumi", *words, "--non-interactive"]
        return harness.run(command, environment, cwd=copied.project, check=check, stdin=stdin)

    written = copied.stack_file.read_text()
    try:
        content = yaml.safe_load(written)
        content.pop("encryptionsalt", None)
        copied.stack_file.write_text(yaml.safe_dump(content))
        pulumi("stack", "init", "dev")
        for key in ("bucketAccessKey", "bucketSecretKey"):
            pulumi("config", "set", "--secret", f"slipway:{key}", stdin="of-this-test")
        done = pulumi("preview", check=False)
    finally:
        copied.stack_file.write_text(written)
        shutil.rmtree(home)
    assert done.code != 0
    assert "Traceback" not in done.text
    faults = {line.removeprefix("error: ") for line in done.lines("error: slipway:")}
    assert len(faults) == 1, done.text
    assert faults.pop().startswith("slipway:context:")
    assert "make up" in done.text


def test_machine_is_untouched(copied: Walk) -> None:
    """None of these left a process, a link or a directory behind."""
    for name in ("busy", "nobody", "full", "none"):
        state = copied.home / "state" / name
        assert not state.exists()
        assert not [words for words in harness.processes().values() if str(state) in str(words)]
        assert not Path(f"/sys/class/net/slipway-{name}").exists()
        assert not harness.cgroups(f"slipway-{name}")
