"""Secrets, and what a model server's pod may do."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import harness
from tests.e2e.harness import Walk

SECRETS = ("slipway:bucketAccessKey", "slipway:bucketSecretKey")


@pytest.fixture(scope="module")
def secrets(walk: Walk) -> dict[str, list[str]]:
    """The bucket's keys and the passphrase, each as it is and in base64."""
    config = json.loads(walk.pulumi("config", "--show-secrets", "--json").out)
    found = {key: config[key]["value"] for key in SECRETS}
    found["passphrase"] = Path(walk.environment["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text()
    for value in found.values():
        assert len(value) >= 20
    return {
        key: [value, base64.b64encode(value.encode()).decode().rstrip("=")]
        for key, value in found.items()
    }


def test_exported_state_holds_no_secret(walk: Walk, secrets: dict[str, list[str]]) -> None:
    """The state has the keys, for the bucket's Secret, but encrypted."""
    shown = walk.pulumi("stack", "export", "--show-secrets").out
    for key in SECRETS:
        assert any(form in shown for form in secrets[key]), f"{key}: not in the state at all"
    exported = walk.pulumi("stack", "export").out
    assert "ciphertext" in exported
    for key, forms in secrets.items():
        for form in forms:
            assert form not in exported, key


def test_files_hold_no_secret(walk: Walk, secrets: dict[str, list[str]]) -> None:
    """Neither the stack's file nor Pulumi's state and history have them in the clear."""
    state = [path for path in (walk.state / "pulumi").rglob("*") if path.is_file()]
    assert len(state) > 3
    for path in [walk.stack_file, *state]:
        content = path.read_text(errors="replace")
        for key, forms in secrets.items():
            for form in forms:
                assert form not in content, f"{key} in {path}"


def test_command_lines_hold_no_secret(walk: Walk, secrets: dict[str, list[str]]) -> None:
    """Every user of the machine can read the command lines of all processes."""
    lines = {pid: " ".join(words) for pid, words in harness.processes().items()}
    assert any(str(walk.state) in line for line in lines.values())
    for key, forms in secrets.items():
        for pid, line in lines.items():
            for form in forms:
                assert form not in line, f"{key} in the command line of process {pid}"


def test_private_files_are_private(walk: Walk) -> None:
    """Keys and the passphrase are for their owner alone."""
    passphrase = Path(walk.environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    keys = sorted((walk.state / "pki").glob("*.key"))
    assert keys
    for path in [passphrase, Path(walk.environment["KUBECONFIG"]), *keys]:
        assert path.stat().st_mode & 0o077 == 0, path


PROBE = """
import json, os, socket, sys
def attempt(path):
    try:
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)
        return 0
    except OSError as error:
        return error.errno
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "ids": [os.getuid(), os.geteuid(), os.getgid()],
    "writes": {path: attempt(path) for path in
               ("/probe", "/opt/slipway/probe", "/models/probe", "/tmp/probe", "/dev/shm/probe")},
    "capabilities": [status[f"Cap{kind}"].strip() for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "environment": sorted(os.environ),
}))
"""


@pytest.mark.parametrize("version", [1, 2])
def test_pods_are_restricted(walk: Walk, version: int) -> None:
    """As the pod's own process sees it: nobody's user, a read-only root, no power, no token."""
    for name in sorted(walk.servers(version))[:2]:
        seen = walk.python("models", name, PROBE)
        assert seen["ids"] == [10001, 10001, 10001]
        read_only = 30
        assert seen["writes"]["/tmp/probe"] == 0  # noqa: S108
        for path in ("/probe", "/opt/slipway/probe", "/models/probe"):
            assert seen["writes"][path] == read_only, seen["writes"]
        assert set(seen["capabilities"]) == {"0" * 16}
        assert seen["no_new_privileges"] == "1"
        assert seen["seccomp"] == "2", "a filter is not in force"
        assert seen["token"] is False
        # Kubernetes gives every container its own address, whatever the pod asks for.
        assert not [
            name
            for name in seen["environment"]
            if "AWS" in name or ("_SERVICE_" in name and not name.startswith("KUBERNETES_"))
        ]


def test_a_privileged_pod_is_refused(walk: Walk) -> None:
    """The namespace of the models takes restricted pods only."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": "models"},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {}}]},
    }
    file = walk.home / "state/pod.json"
    file.write_text(json.dumps(pod))
    done = walk.kubectl("create", "--dry-run=server", "-f", str(file), check=False)
    assert done.code != 0
    assert "violates PodSecurity" in done.text


# The network

CONNECT = """
import json, socket, sys
found = {}
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        found[place] = "open"
    except OSError as error:
        found[place] = type(error).__name__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """A server outside the cluster, on this machine's end of the link to the node."""
    from local import instance

    host = instance.load(harness.NAME).host_ip
    with socket.create_server((host, 0)) as server:
        yield f"{host}:{server.getsockname()[1]}"


def test_model_servers_reach_mlflow_alone(walk: Walk, outside: str) -> None:
    """Out of a model server lead the ways to MLflow and the name server. MLflow's own pod, which
    no such policy holds, shows that the other doors do stand open.
    """
    mlflow = walk.objects("pods", "mlflow", "app.kubernetes.io/name=mlflow")[0]
    bucket = next(
        service["metadata"]["name"]
        for service in walk.objects("services", "mlflow")
        if "versitygw" in service["metadata"]["name"]
    )
    port = walk.objects("services", "mlflow", "app.kubernetes.io/name=mlflow")[0]["spec"]["ports"]
    tracking = f"mlflow.mlflow.svc.cluster.local:{port[0]['port']}"
    api, istiod = "10.96.0.1:443", "istiod.istio-system.svc.cluster.local:443"
    keys = walk.objects("services", "mlflow")
    storage = next(
        f"{bucket}.mlflow.svc.cluster.local:{service['spec']['ports'][0]['port']}"
        for service in keys
        if service["metadata"]["name"] == bucket
    )
    places = [tracking, api, outside, istiod, storage]
    free: dict[str, Any] = walk.python("mlflow", mlflow["metadata"]["name"], CONNECT, *places)
    assert free == dict.fromkeys(places, "open")
    held = walk.python("models", sorted(walk.servers(1))[0], CONNECT, *places)
    assert held.pop(tracking) == "open"
    assert "open" not in held.values(), held


def test_model_servers_are_reached_by_the_gateway_alone(walk: Walk) -> None:
    """Who is neither the gateway nor Prometheus gets no connection to a model server."""
    mlflow = walk.objects("pods", "mlflow", "app.kubernetes.io/name=mlflow")[0]
    places = ["churn-v1.models.svc.cluster.local:80"]
    places += [f"{pod['status']['podIP']}:8080" for pod in walk.pods(2).values()]
    found = walk.python("mlflow", mlflow["metadata"]["name"], CONNECT, *places)
    assert set(found) == set(places)
    assert "open" not in found.values(), found


def test_only_loopback_listens(walk: Walk) -> None:
    """The instance's processes in the host's network listen on 127.0.0.1 alone."""
    own = Path("/proc/self/ns/net").readlink()
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                sockets[words[9]] = words[1]
    listening = set()
    for pid, words in harness.processes().items():
        try:
            if (
                str(walk.state) not in " ".join(words)
                or Path(f"/proc/{pid}/ns/net").readlink() != own
            ):
                continue
            for link in Path(f"/proc/{pid}/fd").iterdir():
                target = str(link.readlink())
                if target.startswith("socket:["):
                    listening.add(sockets.get(target[8:-1], ""))
        except (FileNotFoundError, ProcessLookupError):
            continue
    listening.discard("")
    loopback = {f"0100007F:{port:04X}" for port in harness.PORTS.values()}
    assert listening == loopback
