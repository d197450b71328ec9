"""Grafana: nobody comes in without the password, nothing goes out to its makers, and what it shows
stands in files.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.dashboards import FOLDER, every
from components.grafana import Grafana, GrafanaArgs
from components.manifests import grafana as manifests
from settings.exposure import Exposure
from settings.monitoring import Grafana as Settings
from tests.conftest import Program, run

PROMETHEUS = "http://prometheus.monitoring.svc.cluster.local:9090"
ALERTMANAGER = "http://alertmanager.monitoring.svc.cluster.local:9093"
PASSWORD = "correct horse battery staple"
OUTSIDE = Settings(
    enabled=True,
    service_type="NodePort",
    node_port=30030,
    url="https://grafana.example",
    allow_from=["10.0.0.0/8"],
)


def deployed(exposure: Settings | None = None, **changed: Any) -> Program:
    arguments = {"prometheus_url": PROMETHEUS, "password": PASSWORD} | changed
    args = GrafanaArgs("monitoring", exposure=exposure or Settings(enabled=True), **arguments)
    return run(lambda: Grafana("grafana", args))


@pytest.fixture(scope="module")
def program() -> Program:
    return deployed(OUTSIDE, alertmanager_url=ALERTMANAGER)


def pod(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = program.one("Deployment", "grafana-deployment").inputs
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def variables(exposure: Exposure) -> dict[str, str]:
    spec = manifests.deployment("image", exposure, "map", {}, "secret", "digest")
    (container,) = spec["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_its_parts(program: Program) -> None:
    assert {(r.kind, r.name) for r in program.resources.values()} == {
        ("Grafana", "grafana"),
        ("ServiceAccount", "grafana-account"),
        ("ConfigMap", "grafana-config"),
        ("ConfigMap", "grafana-dashboard-fleet"),
        ("ConfigMap", "grafana-dashboard-model"),
        ("ConfigMap", "grafana-dashboard-platform"),
        ("Secret", "grafana-password"),
        ("Service", "grafana-service"),
        ("NetworkPolicy", "grafana-policy"),
        ("Deployment", "grafana-deployment"),
    }
    for resource in program.custom():
        assert resource.parent == "grafana"
        assert resource.inputs["metadata"]["namespace"] == "monitoring"
        # What has a fixed name is deleted before it is made again.
        assert resource.delete_before_replace == ("name" in resource.inputs["metadata"])


def test_the_pod_is_at_the_restricted_level(program: Program) -> None:
    spec = pod(program)
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsUser"] == 472 == spec["securityContext"]["fsGroup"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == set(container["resources"]["limits"])
    account = program.one("ServiceAccount", "grafana-account").inputs
    assert account["automountServiceAccountToken"] is False


def test_only_scratch_can_be_written(program: Program) -> None:
    spec = pod(program)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    (container,) = spec["containers"]
    written = [m for m in container["volumeMounts"] if not m.get("readOnly")]
    assert {m["mountPath"] for m in written} == {"/var/lib/grafana", "/tmp"}
    assert all("emptyDir" in volumes[m["name"]] for m in written)
    assert {m["name"] for m in container["volumeMounts"]} == set(volumes)


def test_every_file_that_is_mounted_is_there(program: Program) -> None:
    maps = {r.inputs["metadata"]["name"]: r.inputs["data"] for r in program.of("ConfigMap")}
    volumes = {volume["name"]: volume for volume in pod(program)["volumes"]}
    for name in ("datasources", "provider"):
        found = volumes[name]["configMap"]
        assert all(item["key"] in maps[found["name"]] for item in found["items"])
    shown = {}
    for source in volumes["dashboards"]["projected"]["sources"]:
        for item in source["configMap"]["items"]:
            shown[item["path"]] = maps[source["configMap"]["name"]][item["key"]]
    assert shown == every()
    # An object may be 1 MiB large.
    assert all(len(json.dumps(data).encode()) < 2**20 // 2 for data in maps.values())


def test_the_home_is_one_of_the_dashboards() -> None:
    home = variables(Exposure())["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    directory, _, file = home.rpartition("/")
    assert file in every()
    options = json.loads(manifests.provider(FOLDER))["providers"][0]["options"]
    assert options["path"] == directory


def test_the_password_is_a_secret_in_a_file(program: Program) -> None:
    secret = program.one("Secret", "grafana-password")
    assert secret.inputs["stringData"] == {"password": PASSWORD}
    assert any(path.startswith("stringData") for path in secret.secret)
    assert secret.inputs["immutable"] is True and "name" not in secret.inputs["metadata"]
    for resource in program.resources.values():
        if resource is not secret:
            assert PASSWORD not in repr(resource.inputs), resource.name
    spec = pod(program)
    (volume,) = (v for v in spec["volumes"] if "secret" in v)
    # Under the name that the provider made up for it: another password, another pod.
    assert volume["secret"]["secretName"] == "grafana-password-1a2b3c4d"
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    environment = {v["name"]: v["value"] for v in spec["containers"][0]["env"]}
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"{mount['mountPath']}/password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    # The image's own start reads that file.
    assert spec["containers"][0]["command"] == ["/run.sh"]


def test_nobody_comes_in_and_nothing_goes_out() -> None:
    found = variables(Exposure())
    for key in (
        "AUTH_ANONYMOUS_ENABLED",
        "USERS_ALLOW_SIGN_UP",
        "ANALYTICS_REPORTING_ENABLED",
        "ANALYTICS_CHECK_FOR_UPDATES",
        "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "NEWS_NEWS_FEED_ENABLED",
        "SNAPSHOTS_EXTERNAL_ENABLED",
    ):
        assert found[f"GF_{key}"] == "false"
    assert found["GF_SECURITY_DISABLE_GRAVATAR"] == "true"
    assert found["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


def test_its_cookies_are_for_https_alone_where_it_is_reached_so() -> None:
    assert variables(OUTSIDE)["GF_SECURITY_COOKIE_SECURE"] == "true"
    assert variables(OUTSIDE)["GF_SERVER_ROOT_URL"] == "https://grafana.example"
    assert "GF_SECURITY_COOKIE_SECURE" not in variables(Exposure(url="http://127.0.0.1:3000"))
    assert "GF_SERVER_ROOT_URL" not in variables(Exposure())


def test_data_sources(program: Program) -> None:
    written = program.one("ConfigMap", "grafana-config").inputs["data"]["datasources.yaml"]
    found = {source["type"]: source for source in json.loads(written)["datasources"]}
    assert found["prometheus"]["url"] == PROMETHEUS and found["alertmanager"]["url"] == ALERTMANAGER
    assert found["prometheus"]["isDefault"] and found["prometheus"]["jsonData"] == {
        "httpMethod": "POST",
        "timeInterval": "5s",
        "prometheusType": "Prometheus",
        "alertmanagerUid": found["alertmanager"]["uid"],
    }
    assert found["alertmanager"]["jsonData"]["implementation"] == "prometheus"
    assert not any(source["editable"] for source in found.values())


def test_without_alertmanager_there_is_one_data_source() -> None:
    (source,) = json.loads(manifests.datasources(PROMETHEUS))["datasources"]
    assert source["type"] == "prometheus" and "alertmanagerUid" not in source["jsonData"]


def test_dashboards_go_to_one_folder_and_nobody_changes_them() -> None:
    (provider,) = json.loads(manifests.provider(FOLDER))["providers"]
    assert (provider["folder"], provider["type"]) == ("Slipway", "file")
    assert provider["allowUiUpdates"] is False and provider["disableDeletion"] is True


def test_only_who_may_reaches_it(program: Program) -> None:
    policy = program.one("NetworkPolicy", "grafana-policy").inputs["spec"]
    assert policy["ingress"] == [
        {
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "ports": [{"protocol": "TCP", "port": 3000}],
        }
    ]
    shut = deployed().one("NetworkPolicy", "grafana-policy").inputs["spec"]
    assert shut["ingress"] == [] and shut["policyTypes"] == ["Ingress"]
    service = program.one("Service", "grafana-service").inputs["spec"]
    assert service["type"] == "NodePort" and service["ports"][0]["nodePort"] == 30030
    assert shut["podSelector"]["matchLabels"] == service["selector"]


def test_url() -> None:
    found: dict[str, str] = {}

    def program(exposure: Settings) -> None:
        args = GrafanaArgs("monitoring", PROMETHEUS, PASSWORD, exposure=exposure)
        Grafana("grafana", args).url.apply(lambda url: found.update(url=url))

    run(lambda: program(OUTSIDE))
    assert found == {"url": "https://grafana.example"}
    run(lambda: program(Settings(enabled=True)))
    assert found == {"url": "http://grafana.monitoring.svc.cluster.local:3000"}


def test_other_data_sources_renew_the_pod_and_other_dashboards_do_not() -> None:
    def annotations(**changed: Any) -> Any:
        found = deployed(**changed).one("Deployment", "grafana-deployment").inputs
        return found["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations()
    assert annotations() != annotations(alertmanager_url=ALERTMANAGER)
    config = deployed().one("ConfigMap", "grafana-config").inputs["data"]
    texts = (config["datasources.yaml"], config["dashboards.yaml"])
    assert annotations() == {"slipway.dev/config-sha256": manifests.digest(*texts)}
