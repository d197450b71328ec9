"""The one-machine cluster's images, what is made where a stack asks for it, and how it may ask."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from local import (
    catalogue,
    go,
    images,
    instance,
    node_files,
    optional,
    pki,
    recipes,
    stack,
    toolkit,
    tools,
    venv,
)
from local.console import UserError
from settings.platform import Images
from settings.scaling import Keda


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> instance.Instance:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("SLIPWAY_INSTANCE", raising=False)
    monkeypatch.delenv("SLIPWAY_WITH_KEDA", raising=False)
    made = instance.load("unit")
    (made.state / "registry").mkdir(parents=True)
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SLIPWAY_WITH_KEDA", raising=False)
    monkeypatch.setattr(optional, "PROJECT", tmp_path)
    return tmp_path


WANTED = "config: {slipway:models: {a: {}, churn: {stable: 1, scaling: {requests_per_second: 5}}}}"


def of_prometheus(version: str) -> str:
    """The module's version of a release of Prometheus: v0.313.0 for 3.13.0."""
    major, minor, patch = map(int, version.split("."))
    return f"v0.{major}{minor:02}.{patch}"


# As `pulumi config set slipway:models '{…}'` stores it.
TEXT = "config: {slipway:models: '%s'}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (WANTED, True),
        ("config: {slipway:models: {churn: {scaling: {requests_per_second: null}}}}", False),
        ("config: {slipway:models: {churn: {scaling: {min: 2}}}}", False),
        ("config: {slipway:other: {churn: {scaling: {requests_per_second: 5}}}}", False),
        ("config:\n  # requests_per_second: 5\n  slipway:models: {churn: {stable: 1}}", False),
        (TEXT % '{"churn": {"scaling": {"requests_per_second": 5}}}', True),
        (TEXT % '{"churn": {"scaling": {"requests_per_second": null}}}', False),
        (TEXT % '["requests_per_second"]', False),
        (TEXT % "{requests_per_second", False),
        ("config: {slipway:models: [requests_per_second]}", False),
        ("config: {slipway:models: {churn: requests_per_second}}", False),
        ("requests_per_second: [", False),
        ("", False),
    ],
)
def test_keda_is_for_models_with_requests_per_second(
    project: Path, text: str, wanted: bool
) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(text)
    assert optional.wants_keda(file) is wanted
    assert optional.keda() is wanted
    assert optional.keda(cluster=False) is wanted


def test_other_stacks_ask_for_the_chart_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "Pulumi.prod.yaml").write_text(WANTED)
    assert not optional.keda()
    assert optional.keda(cluster=False)
    names = {tool.name for tool in catalogue.all_tools(cluster=False, optional={"keda"})}
    assert "keda-chart" in names
    assert "keda" not in names
    (project / "Pulumi.prod.yaml").unlink()
    assert not optional.keda(cluster=False)
    monkeypatch.setenv("SLIPWAY_WITH_KEDA", "1")
    assert optional.keda()


def test_before_the_environment_exists_it_is_made_and_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(venv, "ensure_venv", lambda: asked.append("made"))
    monkeypatch.setenv("PYTHONPATH", str(instance.PROJECT))
    file = project / "Pulumi.dev.yaml"
    file.write_text("config: {}")
    assert not optional.keda()
    assert not asked
    file.write_text(WANTED)
    assert optional.keda()
    file.write_text("# requests_per_second")
    assert not optional.keda()
    assert asked == ["made", "made"]


def test_what_python_says_beside_the_answer_is_no_answer(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(venv, "ensure_venv", lambda: None)
    monkeypatch.setenv("PYTHONPATH", str(instance.PROJECT))
    monkeypatch.setenv("PYTHONWARNINGS", "nonsense")
    file = project / "Pulumi.dev.yaml"
    file.write_text(WANTED)
    assert optional.keda()
    file.write_text("# requests_per_second")
    assert not optional.keda()


@pytest.mark.parametrize(
    ("missing", "free", "need"),
    [
        (["addons"], 3, 4),
        (["keda"], 8, 9),
        ([f"tool-{number}" for number in range(20)], 24, 25),
        (["keda", *(f"tool-{number}" for number in range(20))], 29, 30),
    ],
)
def test_room_is_asked_for_keda_only_where_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str], free: int, need: int
) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    found = [toolkit.Tool(name, "1", name, Path.mkdir) for name in missing]
    room = SimpleNamespace(free=free * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    with pytest.raises(UserError, match=f"{free}.0 GiB free under .*, {need} GiB needed"):
        tools._check_room(found)
    room.free = need * 2**30
    tools._check_room(found)


@pytest.mark.parametrize(
    ("name", "module", "recipe"),
    [
        ("istio-charts", "addons", "install_istio_charts"),
        ("keda-chart", "keda", "install_keda_chart"),
        ("keda-chart", "keda", "_downloaded"),
    ],
)
def test_a_chart_is_made_anew_when_its_pins_or_its_recipe_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, recipe: str
) -> None:
    def directory() -> Path:
        found = catalogue.all_tools(cluster=False, optional={"keda"})
        return next(tool.directory for tool in found if tool.name == name)

    def other(target: Path) -> None:
        target.touch()

    for each in ("addons", "keda"):
        shutil.copytree(go.TOOLCHAIN / each, tmp_path / each)
    seen = [directory()]
    monkeypatch.setattr(catalogue, "TOOLCHAIN", tmp_path)
    assert directory() == seen[0]
    with (tmp_path / module / "go.mod").open("a") as file:
        file.write("exclude example.com/x v1.0.0\n")
    seen.append(directory())
    monkeypatch.setattr(recipes, recipe, other)
    seen.append(directory())
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("directory", "pin"),
    [
        (
            "addons",
            f"github.com/prometheus/prometheus {of_prometheus(catalogue.PROMETHEUS_VERSION)}",
        ),
        # Istio's own module has no version; that of its API is released with it.
        ("addons", f"istio.io/api v{catalogue.ISTIO_VERSION}"),
        ("actionlint", f"github.com/rhysd/actionlint v{catalogue.ACTIONLINT_VERSION}"),
        ("alertmanager", f"github.com/prometheus/alertmanager v{catalogue.ALERTMANAGER_VERSION}"),
        ("keda", f"github.com/kedacore/keda/v2 v{catalogue.KEDA_VERSION}"),
        (
            "kube-state-metrics",
            f"k8s.io/kube-state-metrics/v2 v{catalogue.KUBE_STATE_METRICS_VERSION}",
        ),
        ("kubernetes", f"k8s.io/kubernetes v{catalogue.KUBERNETES_VERSION}"),
        ("pulumi", f"github.com/pulumi/pulumi/pkg/v3 v{catalogue.PULUMI_VERSION}"),
        ("versitygw", f"github.com/versity/versitygw {images.BASE.images['versitygw'][-6:]}"),
    ],
)
def test_a_version_that_is_named_is_the_pinned_one(directory: str, pin: str) -> None:
    text = (go.TOOLCHAIN / directory / "go.mod").read_text()
    assert pin in {line.strip().removesuffix(" // indirect") for line in text.splitlines()}


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ("keda", {"keda", "keda-chart"}),
        ("oauth2-proxy", {"oauth2-proxy"}),
        ("postgresql", {"postgresql"}),
    ],
)
def test_what_is_optional_is_built_only_where_it_is_asked_for(asked: str, more: set[str]) -> None:
    without = {tool.name for tool in catalogue.all_tools(cluster=True)}
    with_it = catalogue.all_tools(cluster=True, optional={asked})
    assert {tool.name for tool in with_it} - without == more


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("config: {slipway:mlflow: {sign_in: {host: m.example.com, basic: true}}}", "oauth2-proxy"),
        ("config: {slipway:mlflow: {backups: {}}}", "postgresql"),
        ('config: {slipway:mlflow: \'{"backups": {"keep": 3}}\'}', "postgresql"),
        ("config: {slipway:mlflow: {sign_in: null}}", ""),
        ("config: {slipway:other: {sign_in: {}, backups: {}}}", ""),
    ],
)
def test_mlflow_s_sign_in_and_backups_are_optional(
    project: Path, monkeypatch: pytest.MonkeyPatch, text: str, asked: str
) -> None:
    (project / "Pulumi.dev.yaml").write_text(text)
    assert optional.wanted() == ({asked} if asked else set())
    for name in ("OAUTH2_PROXY", "POSTGRESQL"):
        monkeypatch.setenv(f"SLIPWAY_WITH_{name}", "1")
    assert optional.wanted() == {"oauth2-proxy", "postgresql"}


def test_programs_that_check_rules_and_routes_are_linked() -> None:
    linked = {name for tool in catalogue.all_tools(cluster=True) for name in tool.binaries}
    assert {"promtool", "amtool"} <= linked


def test_images_of_keda_are_missing_once_it_is_asked_for(
    dev: instance.Instance, project: Path
) -> None:
    assert not images.present(dev)
    images._marker(dev, images.BASE).touch()
    assert images.present(dev)
    (project / "Pulumi.dev.yaml").write_text(WANTED)
    assert not images.present(dev)
    images._marker(dev, images.KEDA).touch()
    assert images.present(dev)


def test_the_default_images_are_those_of_the_registry_that_stands_in() -> None:
    keda = Keda()
    # What this machine has no use for: panels that no registry here has, and GPUs.
    elsewhere = {"grafana", "dcgm_exporter", "device_plugin", "mig_parted"}
    ours = [getattr(Images(), name) for name in Images.model_fields if name not in elsewhere]
    made = {name for group in images.EVERY for name in group.images.values()}
    for name in (*ours, keda.operator, keda.adapter):
        host, _, rest = name.partition("/")
        assert host in node_files.MIRRORED, name
        assert rest in made, name


def test_every_stage_and_every_file_of_the_dockerfile_is_in_one_group() -> None:
    text = images.DOCKERFILE.read_text()
    stages = re.split(r"^FROM \S+ AS (\S+)$", text, flags=re.M)[1:]
    found = dict(zip(stages[::2], stages[1::2], strict=True))
    groups = images.EVERY
    assert sorted(found) == sorted(stage for group in groups for stage in group.images)
    for group in groups:
        for stage in group.images:
            files = set(re.findall(r"^(?:COPY|ADD) (\S+) ", found[stage], flags=re.M))
            assert files <= set(group.files), stage


def test_every_mirrored_registry_leads_to_the_nodes_own(dev: instance.Instance) -> None:
    pki.write_all(dev)
    node_files.write(dev)
    for name in ("docker.io", "ghcr.io", "registry.k8s.io"):
        text = (dev.state / f"certs.d/{name}/hosts.toml").read_text()
        assert f'[host."http://{dev.registry}"]' in text
    documents = yaml.safe_load_all((dev.state / "manifests.yaml").read_text())
    [storage] = [entry for entry in documents if entry["kind"] == "StorageClass"]
    assert storage["metadata"]["annotations"]["defaultVolumeType"] == "local"


def test_settings_stored_as_text_are_read_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "PATH": f"{toolkit.LINKS}/bin:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    url = "http://127.0.0.1:8080"
    settings = {"registry": "127.0.0.1:5000", "gateway.url": url, "mlflow.url": url}
    target = stack.Target("dev", environment, settings, directory=tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: yaml\n")
    stack._pulumi(target, "stack", "init", "dev")
    for key, value in (
        ("grafana", '{"enabled": true}'),
        ("gateway", '{"service_type": "NodePort", "url": "http://old"}'),
    ):
        stack._pulumi(target, "config", "set", f"slipway:{key}", value)
    stack._configure(target)
    file = tmp_path / "Pulumi.dev.yaml"
    config = yaml.safe_load(file.read_text())["config"]
    assert "secure" in config["slipway:grafanaPassword"]
    assert json.loads(config["slipway:gateway"]) == {"service_type": "NodePort", "url": url}
    assert config["slipway:mlflow"] == {"url": url}
    before = file.read_text()
    stack._configure(target)
    assert file.read_text() == before
    monkeypatch.setattr(stack, "PROJECT", tmp_path)
    file.write_text(
        "config: {slipway:mlflow: {}, slipway:prometheus: {}, "
        """slipway:gateway: '{"node_port": 1}'}"""
    )
    stack._copy_configuration(stack.on_existing("other", "registry.example"))
    copied = yaml.safe_load((tmp_path / "Pulumi.other.yaml").read_text())["config"]
    assert copied["slipway:gateway"] == {"service_type": "LoadBalancer"}


@pytest.mark.parametrize(
    ("tls", "signed_in", "url"),
    [
        ("", "", "http://127.0.0.1:{mlflow}"),
        ("{certificate: mesh}", "", "http://127.0.0.1:{mlflow}"),
        ("", "{host: mlflow.test, basic: true}", "http://mlflow.test:{gateway}"),
        ("{certificate: mesh}", "{host: mlflow.test}", "https://mlflow.test:{gateway}"),
        ("", "{host: [no, host]}", "http://127.0.0.1:{mlflow}"),
    ],
)
def test_a_sign_in_has_mlflow_at_the_gateway(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dev: instance.Instance,
    tls: str,
    signed_in: str,
    url: str,
) -> None:
    sections = {"gateway": f"{{tls: {tls}}}" * bool(tls), "mlflow": f"{{sign_in: {signed_in}}}"}
    lines = [f"  slipway:{key}: {value or '{}'}" for key, value in sections.items()]
    (tmp_path / "Pulumi.dev.yaml").write_text("\n".join(["config:", *lines, ""]))
    monkeypatch.setattr(stack, "PROJECT", tmp_path)
    made = stack.on_one_machine(dev)
    assert made.settings["mlflow.url"] == url.format(**dev.ports)
    assert made.environment["MLFLOW_TRACKING_URI"] == made.settings["mlflow.url"]
