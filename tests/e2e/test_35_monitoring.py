"""Monitoring on the real cluster, under traffic: every target is up, every rule is evaluated, every
query of every panel gives data, and an alert reaches the receiver that its route names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from components import dashboards
from tests.e2e.harness import PROMETHEUS, Load, Walk, run, until

JOBS = {"prometheus", "pods", "kube-state-metrics", "kubelet", "cadvisor", "alertmanager"}
VALUES = {"model": "churn", "version": ".+"}

RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open("/tmp/got", "a") as file:
            file.write(self.path + " " + body.decode().replace("\\n", " ") + "\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""


def ask(path: str, **parameters: str) -> Any:
    """The data that Prometheus' API answers with."""
    answer = httpx.get(
        f"{PROMETHEUS}/api/v1/{path}", params=parameters, trust_env=False, timeout=20
    )
    assert answer.status_code == 200, f"{path} {parameters}: {answer.text[:300]}"
    return answer.json()["data"]


def values(promql: str) -> list[float]:
    """The numbers that a query gives now, without NaN."""
    data = ask("query", query=promql)
    found = [data] if data["resultType"] == "scalar" else data["result"]
    numbers = [float((each["value"] if "value" in each else each["result"])[1]) for each in found]
    return [number for number in numbers if number == number]


def test_every_target_is_up(walk: Walk) -> None:
    """Each job has targets, and each of them answers."""

    def down() -> list[str] | None:
        targets = ask("targets", state="active")["activeTargets"]
        bad = [f"{t['scrapePool']} {t['scrapeUrl']} {t['lastError']}" for t in targets
               if t["health"] != "up"]  # fmt: skip
        lacking = sorted(JOBS - {t["scrapePool"] for t in targets})
        return bad + lacking or None

    try:
        until("all targets up", lambda: down() is None, 90)
    except AssertionError:
        raise AssertionError("\n".join(down() or [])) from None


def test_every_rule_is_evaluated(walk: Walk) -> None:
    """Prometheus has every rule and finds no fault in any."""

    def rules() -> list[dict[str, Any]]:
        return [rule for group in ask("rules")["groups"] for rule in group["rules"]]

    until("an evaluation of all", lambda: all(r["health"] != "unknown" for r in rules()), 120)
    bad = [f"{rule['name']}: {rule['lastError']}" for rule in rules() if rule["health"] != "ok"]
    assert not bad, bad
    kinds = [rule["type"] for rule in rules()]
    assert kinds.count("alerting") >= 12
    walk.note(f"monitoring: {kinds.count('recording')} recording rules, "
              f"{kinds.count('alerting')} alerts")  # fmt: skip


def test_nothing_fires_on_a_healthy_stack(walk: Walk) -> None:
    """What stands for some minutes now is no alert."""
    firing = ask("query", query='ALERTS{alertstate="firing"}')["result"]
    assert not firing, firing


def test_every_panel_has_data(walk: Walk) -> None:
    """Under traffic, each query of each dashboard gives a number."""
    boards = {
        "model": dashboards.model_dashboard(),
        "fleet": dashboards.fleet_dashboard(),
        "platform": dashboards.platform_dashboard(),
    }
    found = [(board, query) for board, dashboard in boards.items()
             for query in dashboards.queries(dashboard, **VALUES)]  # fmt: skip
    asked = [(board, query) for board, query in found if query.needs is None]
    assert len(asked) >= 40
    with Load() as load:
        time.sleep(75)
        lacking = list(asked)
        deadline = time.monotonic() + 90
        while lacking and time.monotonic() < deadline:
            lacking = [(board, query) for board, query in lacking if not values(query.promql)]
            time.sleep(3)
    load.assert_no_failure()
    assert not lacking, "\n".join(f"{board}, {q.panel}: {q.promql}" for board, q in lacking)
    panels = {(board, query.panel) for board, query in asked}
    walk.note(f"monitoring: {len(asked)} queries of {len(panels)} panels answered, "
              f"{len(found) - len(asked)} need what is not there")  # fmt: skip


def test_weights_are_seen(walk: Walk) -> None:
    """The route's weights, as the gateway has them, are series of each version."""
    weight = walk.weight()
    assert weight is not None
    seen = {
        each["metric"]["model_version"]: float(each["value"][1])
        for each in ask("query", query='slipway_route_weight{model_name="churn"}')["result"]
    }
    assert seen == {"1": 100 - weight, "2": weight}


@pytest.fixture
def receiver(walk: Walk) -> Iterator[str]:
    """A pod that keeps what it is sent: its URL."""
    image = json.loads(walk.pulumi("stack", "output", "--json").out)["serving_image"]
    labels = {"app": "receiver"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "receiver", "namespace": "models", "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "receiver",
                    "image": image,
                    "command": ["python", "-u", "-c", RECEIVER],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "receiver", "namespace": "models"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    sender = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    }
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "receiver", "namespace": "models"},
        "spec": {"podSelector": {"matchLabels": labels}, "ingress": [{"from": [sender]}]},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, service, policy]})
    words = ["kubectl", "--context", "slipway", "apply", "-f", "-"]
    run(words, walk.environment, stdin=text)
    walk.kubectl("wait", "-n", "models", "pod/receiver", "--for=condition=Ready", "--timeout=60s")
    yield "http://receiver.models.svc.cluster.local"
    walk.kubectl("delete", "-n", "models", "pod,service,networkpolicy", "-l", "app=receiver")
    walk.kubectl("delete", "-n", "models", "service/receiver", "networkpolicy/receiver",
                 "--ignore-not-found")  # fmt: skip


def own_by_one_that_is_gone(walk: Walk, name: str) -> None:
    """Have the annotations of a Deployment's pods belong to another too, as after a killed update
    that was creating it: each creation has a manager of fields of its own.
    """
    (found,) = [
        it for it in walk.objects("deployments", "monitoring") if it["metadata"]["name"] == name
    ]
    annotations = found["spec"]["template"]["metadata"]["annotations"]
    assert annotations
    part = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "monitoring"},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    }
    words = ["kubectl", "--context", "slipway", "apply", "--server-side"]
    words += ["--field-manager", "pulumi-kubernetes-gone", "-f", "-"]
    run(words, walk.environment, stdin=json.dumps(part))


def test_an_alert_reaches_its_receiver(walk: Walk, receiver: str) -> None:
    """A rule of the user's own fires; its route decides where it goes; the URL is a secret."""
    before = walk.stack_file.read_text()
    content = yaml.safe_load(before)
    rule = {"promql": "vector(1)", "after": "1s", "summary": "it is there"}
    content["config"]["slipway:alerts"] = {
        "receivers": {
            "ops": {"kind": "webhook", "url": f"{receiver}/ops"},
            "oncall": {"kind": "webhook"},
        },
        "default": "ops",
        "routes": [{"receiver": "oncall", "severity": "critical"}],
        "group_wait": "1s",
        # What was told before is on a volume, and a second run is to be told again.
        "group_interval": "5s",
        "repeat": "10s",
        "rules": [
            {"name": "AlwaysThere", "severity": "critical", **rule},
            {"name": "AlsoThere", "severity": "warning", **rule},
        ],
    }
    walk.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))
    refused = walk.pulumi("preview", check=False)
    assert refused.code != 0
    assert "slipway:alertSecrets.oncall: is not set" in refused.text
    url = f"{receiver}/oncall-with-a-secret"
    words = ["config", "set", "--secret", "--path", "slipway:alertSecrets.oncall"]
    run(["pulumi", *words, "--stack", "dev"], walk.environment, cwd=walk.project, stdin=url)
    own_by_one_that_is_gone(walk, "prometheus")
    try:
        walk.deploy()
        assert "oncall-with-a-secret" not in walk.stack_file.read_text()
        shown = walk.kubectl("get", "configmaps", "-n", "monitoring", "-o", "yaml").out
        assert "oncall-with-a-secret" not in shown

        def got() -> dict[str, set[str]]:
            words = ["exec", "-n", "models", "receiver", "--", "sh", "-c", "cat /tmp/got || true"]
            found: dict[str, set[str]] = {}
            for line in walk.kubectl(*words).out.splitlines():
                path, _, body = line.partition(" ")
                names = {alert["labels"]["alertname"] for alert in json.loads(body)["alerts"]}
                found.setdefault(path, set()).update(names)
            return found

        until("both alerts", lambda: len(got()) == 2, 120, 2)
        told = got()
        assert told["/oncall-with-a-secret"] == {"AlwaysThere"}
        assert "AlsoThere" in told["/ops"]
        assert "AlwaysThere" not in told["/ops"]
    finally:
        walk.stack_file.write_text(before)
        walk.deploy()
    walk.pulumi("preview", "--expect-no-changes")
