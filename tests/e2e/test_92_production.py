"""The Kubernetes half of production on the real cluster: nobody speaks to a model in the clear,
nobody who is not named is answered, and requests are lost by none of it.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.harness import BODY, Walk, ask, http_client, ready, until
from tests.e2e.production import CHURN, GATEWAY, PORTS, PROMETHEUS, Production

ASK = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode() or None,
                                 {"content-type": "application/json"})
try:
    with urllib.request.urlopen(request, timeout=5) as answer:
        print(json.dumps([answer.status, answer.read().decode()[:200]]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()[:200]]))
except OSError as error:
    print(json.dumps([0, repr(getattr(error, "reason", error))]))
"""
SERVER = "http://churn-v1.models.svc.cluster.local/invocations"


@pytest.fixture(scope="module")
def strangers(production: Production) -> Iterator[dict[str, str]]:
    """Two pods whom no policy names, but whom the network lets through: `plain` has no sidecar,
    `other` has one, and the certificate of a service account of its own.
    """
    (server, *_) = production.servers(1, 180).values()
    image = server["spec"]["containers"][0]["image"]
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "strangers", "namespace": "models"},
            "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "model-server"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"test": "stranger"}}}]}],
            },
        }
    ]
    for name, injected in (("plain", "false"), ("other", "true")):
        labels = {"test": "stranger", "sidecar.istio.io/inject": injected}
        metadata = {"name": name, "namespace": "models"}
        objects.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        container = {
            "name": "sleep",
            "image": image,
            "command": ["sleep", "3600"],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        }
        spec = {
            "serviceAccountName": name,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        told = {"prometheus.io/scrape": "false"}
        metadata = metadata | {"labels": labels, "annotations": told}
        objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    manifest = production.project / "strangers.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    production.kubectl("apply", "-f", str(manifest))

    def up() -> bool:
        found = production.objects("pods", "models", "test=stranger")
        return len(found) == 2 and all(map(ready, found))

    until("two strangers that are ready", up, 90)
    yield {"plain": "plain", "other": "other"}
    production.kubectl("delete", "-f", str(manifest), "--wait=false")


def asked(production: Production, pod: str, url: str = SERVER) -> tuple[int, str]:
    """Status and beginning of the answer that a pod of namespace models gets; 0 where there is no
    answer.
    """
    status, text = production.python("models", pod, ASK, url, BODY.decode())
    return status, text


def value(query: str) -> float:
    """The sum of what Prometheus finds; 0 for nothing."""
    with http_client() as client:
        answer = client.get(f"{PROMETHEUS}/api/v1/query", params={"query": query}).json()
    return sum(float(each["value"][1]) for each in answer["data"]["result"])


def test_what_is_missing_is_said(production: Production) -> None:
    """The first `up`, without the secrets, made nothing and named them; the second went on."""
    said = production.refused
    assert said.code == 1
    for key in ("mlflowDatabasePassword", "mlflowSignIn.cookie_secret", "mlflowSignIn.htpasswd"):
        assert f"slipway:{key}: is not set; set it: pulumi config set --secret" in said.text
    assert "Traceback" not in said.text
    assert not re.search(r"kubernetes:|Namespace", said.text), said.text


def test_every_pod_has_a_sidecar_and_is_restricted(production: Production) -> None:
    """The namespaces enforce the restricted level, and nothing in them is without a sidecar."""
    notes = " ".join(production.up.lines("up in"))
    production.note(f"production: up with sidecars: {production.up.seconds:.1f} s; {notes}")
    for namespace in ("models", "mlflow"):
        labels = json.loads(production.kubectl("get", "ns", namespace, "-o", "json").out)
        level = labels["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        assert level == "restricted"
        # The migration stays out of the mesh: it speaks to the database alone.
        pods = production.objects(
            "pods", namespace, "app.kubernetes.io/name!=mlflow-migrate,test!=stranger"
        )
        assert pods
        for pod in pods:
            names = [each["name"] for each in pod["spec"]["initContainers"]]
            assert names[:2] == ["istio-validation", "istio-proxy"], pod["metadata"]["name"]
            proxy = pod["spec"]["initContainers"][1]
            assert proxy["restartPolicy"] == "Always"


def test_predictions_by_https_alone(production: Production) -> None:
    """The gateway predicts through HTTPS, TLS 1.2 at least; plain HTTP leads there."""
    with http_client(verify=False) as client:
        answer = ask(client, CHURN, BODY)
        assert not answer.reason, answer.reason
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with httpx.Client(trust_env=False, verify=old) as client, pytest.raises(httpx.ConnectError):
        client.get(GATEWAY)
    # The port speaks no plain HTTP.
    with http_client() as client, pytest.raises(httpx.HTTPError):
        client.get(f"http://127.0.0.1:{PORTS['gateway']}/models/churn/ping")


def test_plain_http_is_sent_to_https(production: Production, strangers: dict[str, str]) -> None:
    """Port 80 of the gateway's Service answers 301 and nothing else."""
    code = (
        "import http.client, json; c = http.client.HTTPConnection("
        "'istio-ingress.istio-ingress.svc.cluster.local', timeout=5); "
        "c.request('GET', '/models/churn/ping'); a = c.getresponse(); "
        "print(json.dumps([a.status, a.getheader('location')]))"
    )
    status, location = production.python("models", strangers["plain"], code)
    assert status == 301 and location.startswith("https://")


def test_plaintext_to_a_model_server_is_refused(
    production: Production, strangers: dict[str, str]
) -> None:
    status, text = asked(production, strangers["plain"])
    assert status == 0 and "Connection" in text, (status, text)


def test_a_wrong_service_account_is_refused(
    production: Production, strangers: dict[str, str]
) -> None:
    status, text = asked(production, strangers["other"])
    assert status == 403 and "RBAC" in text, (status, text)
    # It has a certificate, and is let in where its namespace is named.
    url = "http://mlflow.mlflow.svc.cluster.local:5000/health"
    code = f"import json, urllib.request as r; print(json.dumps(r.urlopen({url!r}).status))"
    assert production.python("models", strangers["other"], code) == 200


def test_prometheus_still_counts(production: Production) -> None:
    """What servers count, by way of their sidecars, and what the gateway counts; and nothing that
    a sidecar says of itself.
    """
    before = value("sum(model_predictions_total)")
    arrived = 'sum(envoy_cluster_upstream_rq_completed{model_version!=""})'
    earlier = value(arrived)
    with production.load(per_second=20) as load:
        time.sleep(8)
    load.assert_no_failure()
    sent = len(load.answers)
    until("predictions", lambda: value("sum(model_predictions_total)") >= before + sent, 30, 1)
    until("the gateway's", lambda: value(arrived) >= earlier + sent, 30, 1)
    assert value('count({__name__=~"envoy_.+|istio_.+", namespace="models"})') == 0
    assert value('min(up{job="pods"})') == 1


def test_a_step_of_weight_loses_no_request(production: Production) -> None:
    with production.load() as load:
        time.sleep(2)
        production.set_weight(50)
        done = production.deploy()
        changed = time.monotonic()
        time.sleep(6)
    load.assert_no_failure()
    assert "~  kubernetes" in done.out or "updated" in done.out
    versions = load.versions(changed + 2)
    assert versions["2"] > 0.3 * versions.total()
    production.note(f"production: a step of weight, {len(load.answers)} requests, none failed")


def test_a_roll_of_servers_loses_no_request(production: Production) -> None:
    """Pods that go finish what they have, with their sidecars."""
    before = set(production.pods(1))
    with production.load() as load:
        time.sleep(1)
        restart = ("rollout", "restart", "-n", "models", "deployment/churn-v1")
        production.kubectl(*restart)
        status = ("rollout", "status", "-n", "models", "deployment/churn-v1", "--timeout=290s")
        production.kubectl(*status, seconds=300)
        until("the last old pod's end", lambda: not before & all_pods(production), 60, 1)
        time.sleep(2)
    load.assert_no_failure()
    times = sorted(answer.seconds for answer in load.answers)
    production.note(
        f"production: a roll of servers, {len(times)} requests, none failed, "
        f"p50 {1000 * times[len(times) // 2]:.1f} ms"
    )


def all_pods(walk: Walk) -> set[str]:
    """The names of the pods of version 1, those that are going too."""
    selector = "slipway.dev/model=churn,slipway.dev/version=1"
    return {pod["metadata"]["name"] for pod in walk.objects("pods", "models", selector)}
