"""The one-machine cluster's pure parts: instances, tools, certificates, processes, tables."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from local import (
    catalogue,
    cluster,
    go,
    images,
    instance,
    node,
    node_files,
    pki,
    processes,
    stack,
    toolkit,
)
from local.console import UserError, format_seconds


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> instance.Instance:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    for key in ("SLIPWAY_INSTANCE", *(f"SLIPWAY_PORT_{k.upper()}" for k in instance.DEFAULT_PORTS)):
        monkeypatch.delenv(key, raising=False)
    made = instance.load()
    made.state.mkdir()
    return made


def test_dev_has_the_documented_ports(dev: instance.Instance) -> None:
    assert dev.ports == {
        "gateway": 8080,
        "mlflow": 5001,
        "prometheus": 9090,
        "registry": 5000,
        "api": 6443,
    }
    assert dev.registry == "127.0.0.1:5000"


def test_another_instance_shares_neither_port_nor_subnet_nor_name(dev: instance.Instance) -> None:
    other = instance.load("test")
    assert not set(dev.ports.values()) & set(other.ports.values())
    assert dev.node_ip != other.node_ip
    assert dev.link != other.link
    assert dev.cgroup != other.cgroup
    assert dev.state != other.state


def test_a_longest_name_fits_a_network_interface(dev: instance.Instance) -> None:
    assert instance.load("abcdefg").link == "slipway-abcdefg"


@pytest.mark.parametrize("name", ["Dev", "a b", "averylongname", "1st", "../x"])
def test_a_bad_instance_name_gets_one_line(dev: instance.Instance, name: str) -> None:
    with pytest.raises(UserError) as error:
        instance.load(name)
    assert "SLIPWAY_INSTANCE" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["80", "70000", "http", "-1", ""])
def test_a_bad_port_gets_one_line(
    dev: instance.Instance, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SLIPWAY_PORT_GATEWAY", value)
    with pytest.raises(UserError, match="SLIPWAY_PORT_GATEWAY: .* is not a port from 1024 to"):
        instance.load()


def test_one_port_for_two_entrances_is_refused(
    dev: instance.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_PORT_GATEWAY", "5001")
    with pytest.raises(UserError, match="port 5001 is given to two entrances"):
        instance.load()


def test_every_tool_has_a_directory_of_its_own_that_follows_its_pins() -> None:
    found = catalogue.all_tools(cluster=True, optional={"keda"})
    assert len({tool.directory for tool in found}) == len(found)
    first = found[0]
    changed = toolkit.Tool(first.name, first.version, first.key + "x", first.install)
    assert changed.directory != first.directory


def test_an_existing_cluster_needs_no_part_of_the_one_machine_cluster() -> None:
    names = {tool.name for tool in catalogue.all_tools(cluster=False)}
    assert {"pulumi", "pulumi-resource-kubernetes", "istio-charts", "kubectl"} <= names
    assert not names & {"kubernetes", "etcd", "containerd", "buildkit", "base", "addons"}


def test_every_go_module_is_pinned_and_used() -> None:
    modules = {path.parent.name for path in go.TOOLCHAIN.glob("*/go.mod")}
    assert all((go.TOOLCHAIN / name / "go.sum").stat().st_size for name in modules)
    source = (Path(catalogue.__file__)).read_text()
    assert all(f'"{name}"' in source for name in modules)


def test_a_program_is_run_only_where_its_version_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "etcd"
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = next(tool for tool in catalogue.all_tools(cluster=True) if tool.name == "etcd")
    assert not tool.on_path()
    program.write_text("#!/bin/sh\necho 'etcd Version: 3.5.9'\n")
    program.chmod(0o755)
    assert tool.on_path()
    program.write_text("#!/bin/sh\necho 'etcd Version: 2.3.0'\n")
    assert not tool.on_path()


def test_a_failed_command_shows_its_last_lines() -> None:
    with pytest.raises(UserError, match=r"(?s)failed with status 3:.*the reason"):
        toolkit.run(["sh", "-c", "echo the reason; exit 3"])
    with pytest.raises(UserError, match="no-such-program: not found on PATH"):
        toolkit.run(["no-such-program"])


def test_certificates_name_what_they_are_for(dev: instance.Instance) -> None:
    pki.write_all(dev)
    keys = dev.state / "pki"
    authority = x509.load_pem_x509_certificate((keys / "ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((keys / "apiserver.crt").read_bytes())
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["10.96.0.1", "127.0.0.1", dev.node_ip]
    for path in keys.glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0
    assert dev.kubeconfig.stat().st_mode & 0o077 == 0
    assert json.loads(dev.kubeconfig.read_text())["current-context"] == "slipway"
    before = server.serial_number
    pki.write_all(dev)
    again = x509.load_pem_x509_certificate((keys / "apiserver.crt").read_bytes())
    assert again.serial_number == before


def test_pods_can_trust_the_kubelet_and_it_asks_who_they_are(dev: instance.Instance) -> None:
    pki.write_all(dev)
    node_files.write(dev)
    kubelet = json.loads((dev.state / "kubelet.json").read_text())
    assert kubelet["authentication"]["webhook"]["enabled"]
    assert not kubelet["authentication"]["anonymous"]["enabled"]
    assert kubelet["authorization"] == {"mode": "Webhook"}
    server = x509.load_pem_x509_certificate(Path(kubelet["tlsCertFile"]).read_bytes())
    manager = shlex.split(processes._cluster(dev)["kube-controller-manager"])
    [given] = [word.partition("=")[2] for word in manager if word.startswith("--root-ca-file=")]
    # What every pod finds as ca.crt.
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(Path(given).read_bytes()))
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert dev.node_ip in map(str, names.get_values_for_type(x509.IPAddress))


def test_every_process_is_brought_back_and_in_the_right_network(dev: instance.Instance) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(processes.configuration(dev))
    programs = {
        name.removeprefix("program:"): parser[name]
        for name in parser.sections()
        if name.startswith("program:")
    }
    assert {"etcd", "kube-apiserver", "kubelet", "containerd", "coredns"} <= set(programs)
    for name, section in programs.items():
        assert section["autorestart"] == "true"
        inside = shlex.split(section["command"])[0] == "nsenter"
        assert inside == (name not in ("buildkitd", "proxy")), name


def test_the_proxy_listens_on_loopback_alone(dev: instance.Instance) -> None:
    pki.write_all(dev)
    node_files.write(dev)
    proxy = json.loads((dev.state / "proxy.json").read_text())["static_resources"]
    listeners = [entry["address"]["socket_address"] for entry in proxy["listeners"]]
    assert {entry["address"] for entry in listeners} == {"127.0.0.1"}
    assert {entry["port_value"] for entry in listeners} == set(dev.ports.values())


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ("kind-kind", "kind-kind"),
        ("arn:aws:eks:eu-west-1:1:cluster/prod", "prod"),
        ("dev", "dev-existing"),
    ],
)
def test_an_existing_cluster_gets_a_stack_of_its_own(context: str, name: str) -> None:
    target = stack.on_existing(context, "registry.example/x")
    assert target.stack == name
    assert target.first["context"] == context
    assert target.settings["context"] == context
    assert target.settings["registry"] == "registry.example/x"
    assert "KUBECONFIG" not in target.environment
    assert "DOCKER_CONFIG" not in target.environment


def test_seconds_are_shown_for_people() -> None:
    assert format_seconds(4.23) == "4.2 s"
    assert format_seconds(185) == "3 m 05 s"


def test_no_mark_is_left_in_the_manifests(dev: instance.Instance) -> None:
    pki.write_all(dev)
    node_files.write(dev)
    text = (dev.state / "manifests.yaml").read_text()
    assert dev.node_ip in text
    assert not [word for word in text.split() if word.strip('"').startswith("@")]


def test_a_failed_init_container_is_quoted() -> None:
    ended = {"exitCode": 1, "message": "noise\nfetch: cannot fetch churn 9: not registered\n"}
    pod = {
        "metadata": {"namespace": "models", "name": "churn-v9-abc"},
        "status": {
            "initContainerStatuses": [{"name": "fetch", "state": {"terminated": ended}}],
            "containerStatuses": [{"name": "server", "state": {"waiting": {}}}],
        },
    }
    good = {"metadata": {"namespace": "models", "name": "fine"}, "status": {}}
    assert stack.pod_faults([pod, good]) == [
        "pod models/churn-v9-abc, container fetch: fetch: cannot fetch churn 9: not registered"
    ]


def test_a_cluster_keeps_the_ports_it_was_started_with(
    dev: instance.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dev.state / "ports.json").write_text(json.dumps(dev.ports | {"gateway": 8081}))
    assert instance.load().ports["gateway"] == 8081
    monkeypatch.setenv("SLIPWAY_PORT_GATEWAY", "8082")
    assert instance.load().ports["gateway"] == 8082


def test_the_cluster_of_another_checkout_is_left_alone(
    dev: instance.Instance, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (dev.state / "project").write_text(str(other))
    for refused in (node.check, cluster.down, node.check_owner):
        with pytest.raises(UserError, match=f"belongs to the checkout {other}"):
            refused(dev)
    assert (dev.state / "project").exists()
    other.rmdir()
    node.check_owner(dev)


def test_a_stack_file_of_another_context_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "PROJECT", tmp_path)
    (tmp_path / "Pulumi.prod.yaml").write_text("config: {slipway:context: a/prod}\n")
    for act in (stack.up, stack.destroy):
        with pytest.raises(UserError, match="CONTEXT: Pulumi.prod.yaml is of context 'a/prod'"):
            act(stack.on_existing("b/prod", "registry.example"))


def test_a_new_stack_file_is_devs_without_its_secrets_and_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text((stack.PROJECT / "Pulumi.dev.yaml").read_text())
    monkeypatch.setattr(stack, "PROJECT", tmp_path)
    stack._copy_configuration(stack.on_existing("kind-kind", "localhost:5001"))
    config = yaml.safe_load((tmp_path / "Pulumi.kind-kind.yaml").read_text())["config"]
    assert config["slipway:context"] == "kind-kind"
    assert config["slipway:gateway"] == {"service_type": "LoadBalancer"}
    assert config["slipway:mlflow"] == {"service_type": "ClusterIP"}
    assert "slipway:builder" not in config
    assert "slipway:bucketSecretKey" not in config


def test_what_runs_before_the_environment_needs_the_standard_library_alone() -> None:
    blocked = "import sys; sys.modules.update(yaml=None, cryptography=None, httpx=None); "
    code = blocked + "import local.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=stack.PROJECT, check=True)


def test_a_lock_stops_an_update_only_while_its_holder_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "_pulumi", lambda *_, **__: "{}")
    target = stack.Target("dev", {"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
    lock = tmp_path / ".pulumi/locks/organization/slipway/dev/1.json"
    lock.parent.mkdir(parents=True)
    program = tmp_path / "pulumi"
    program.symlink_to(shutil.which("sleep") or "/bin/sleep")
    holder = subprocess.Popen([program, "60"])
    lock.write_text(json.dumps({"pid": holder.pid, "hostname": socket.gethostname()}))
    with pytest.raises(UserError, match=f"process {holder.pid} is updating it"):
        stack._recover(target)
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet reaped
    stack._recover(target)
    assert not lock.exists()
    holder.wait()
    lock.write_text("{")
    stack._recover(target)
    assert not lock.exists()
    lock.write_text(json.dumps({"pid": 1, "hostname": "elsewhere"}))
    with pytest.raises(UserError, match="locked by process 1 of elsewhere"):
        stack._recover(target)


def test_a_cluster_that_runs_is_given_this_checkouts_manifests(
    dev: instance.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki.write_all(dev)
    file = dev.state / "manifests.yaml"
    file.write_text("# of an earlier checkout\n")
    given: list[str] = []

    def kubectl(_: instance.Instance, *arguments: str) -> str:
        given.append(Path(arguments[-1]).read_text())
        return ""

    monkeypatch.setattr(node, "is_running", lambda _: True)
    monkeypatch.setattr(images, "present", lambda _: True)
    monkeypatch.setattr(cluster, "_wait", lambda *_: None)
    monkeypatch.setattr(cluster, "kubectl", kubectl)
    cluster.up(dev, {})
    [text] = given
    assert dev.node_ip in text
    assert "earlier" not in text
