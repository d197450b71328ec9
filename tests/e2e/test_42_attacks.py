"""Attacks from inside the cluster: from a pod in a namespace of its own, with keys that are not the
bucket's, and out of the bucket's pod. Each comes with what shows that the door is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import PROMETHEUS, Walk, http_client, run

ATTACK = "attack"
# Labels are for anybody to write: those of the gateway and of Prometheus, in a wrong namespace.
DISGUISE = {
    "istio": "ingress",
    "app": "istio-ingress",
    "app.kubernetes.io/name": "prometheus",
    "app.kubernetes.io/instance": "prometheus",
}
OURS = ("istio-ingress", "istio-system", "keda", "mlflow", "models", "monitoring")
# Open to all by design: requests, and the API server's calls of istiod's webhook.
OPEN = {("istio-ingress", 80), ("istiod", 15017)}


@pytest.fixture(scope="module")
def attacker(walk: Walk) -> Iterator[str]:
    """A pod that the stack knows nothing of, at the restricted level, gone at the end."""
    image = json.loads(walk.pulumi("stack", "output", "--json").out)["serving_image"]
    drop = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "attacker",
        "image": image,
        "command": ["python", "-c", "import time; time.sleep(1800)"],
        "securityContext": drop | {"readOnlyRootFilesystem": True},
    }
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": ATTACK,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "attacker", "namespace": ATTACK, "labels": DISGUISE},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
            },
        },
    ]
    file = walk.home / "state/attacker.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        walk.kubectl("apply", "-f", str(file))
        walk.kubectl("wait", "-n", ATTACK, "pod/attacker", "--for=condition=Ready", "--timeout=50s")
        yield "attacker"
    finally:
        walk.kubectl("delete", "namespace", ATTACK, "--ignore-not-found", "--timeout=50s")


CONNECT = """
import concurrent.futures, json, socket, sys
def attempt(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        return "open"
    except OSError as error:
        return type(error).__name__
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(attempt, sys.argv[1:])))))
"""


def listening(pid: int) -> set[int]:
    """The TCP ports that a process' network listens at, loopback left out."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            address, _, port = words[1].partition(":")
            loopback = address in ("0100007F", "00000000000000000000000001000000")
            if words[3] == "0A" and not loopback:
                found.add(int(port, 16))
    return found


def doors(walk: Walk) -> dict[str, tuple[str, int]]:
    """Every port that a pod of the stack listens at: address:port -> (what it is of, port)."""
    found = {}
    for namespace in OURS:
        for pod in walk.objects("pods", namespace):
            statuses = pod["status"].get("containerStatuses", [])
            if "deletionTimestamp" in pod["metadata"] or not all(it["ready"] for it in statuses):
                continue
            of = pod["metadata"]["name"].rsplit("-", 2)[0]
            for port in listening(walk.container(pod)):
                found[f"{pod['status']['podIP']}:{port}"] = (of, port)
    return found


def test_from_elsewhere_only_the_gateway_is_reached(walk: Walk, attacker: str) -> None:
    """Every port that any pod of the stack listens at, and every Service, is tried."""
    found = doors(walk)
    told = {
        ("mlflow", 5000),
        ("versitygw", 7070),
        ("churn-v1", 8080),
        ("churn-v2", 8080),
        ("prometheus", 9090),
        ("alertmanager", 9093),
        ("kube-state-metrics", 8080),
        ("istiod", 15010),
        ("istiod", 15012),
        ("istiod", 15014),
        ("istiod", 8080),
        ("istio-ingress", 15020),
        ("istio-ingress", 15021),
        ("istio-ingress", 15090),
    }
    assert told | OPEN <= set(found.values()), "a door is not there, so nothing shows it is shut"
    by_name = {
        f"{service['metadata']['name']}.{namespace}.svc.cluster.local:{port['port']}": (
            service["metadata"]["name"],
            port["port"],
        )
        for namespace in OURS
        for service in walk.objects("services", namespace)
        for port in service["spec"]["ports"]
    }
    assert "mlflow.mlflow.svc.cluster.local:5000" in by_name
    places = found | by_name
    tried: dict[str, str] = walk.python(ATTACK, attacker, CONNECT, *places)
    assert set(tried) == set(places)
    opened = {places[place] for place, what in tried.items() if what == "open"}
    # The webhook's port of the Service is 443.
    assert opened == OPEN | {("istiod", 443)}, opened
    walk.note(f"attacks: {len(tried)} places tried from another namespace, open: {len(opened)}")


def test_from_elsewhere_no_port_of_the_node_leads_around_it(walk: Walk, attacker: str) -> None:
    """A NodePort makes the node the sender, whom a pod always lets in."""
    (node,) = walk.objects("nodes", "default")
    inner = next(it["address"] for it in node["status"]["addresses"] if it["type"] == "InternalIP")
    places = {
        f"{inner}:{port['nodePort']}": service["metadata"]["name"]
        for namespace in OURS
        for service in walk.objects("services", namespace)
        for port in service["spec"]["ports"]
        if "nodePort" in port
    }
    assert {"istio-ingress", "mlflow", "prometheus"} <= set(places.values())
    tried: dict[str, str] = walk.python(ATTACK, attacker, CONNECT, *places)
    opened = {places[place] for place, what in tried.items() if what == "open"}
    # The gateway's shows that there is a way.
    assert set(tried) == set(places) and opened == {"istio-ingress"}, tried


def test_the_bucket_reaches_nobody(walk: Walk) -> None:
    """Who gets into the bucket's pod gets no further; MLflow's pod shows the doors are open."""
    found = doors(walk)
    places = [place for place, of in found.items() if of in OPEN | {("mlflow", 5000)}]
    places += ["10.96.0.1:443", "10.96.0.10:53"]
    assert len(places) >= 5

    def tried(name: str) -> dict[str, str]:
        (pod,) = walk.objects("pods", "mlflow", f"app.kubernetes.io/name={name}")
        inside = ["nsenter", f"--net=/proc/{walk.container(pod)}/ns/net"]
        done = run([*inside, sys.executable, "-c", CONNECT, *places], walk.environment)
        answers: dict[str, str] = json.loads(done.out)
        return answers

    assert tried("mlflow") == dict.fromkeys(places, "open")
    assert "open" not in tried("versitygw").values()


# Credentials that come with the programs

TRY_KEYS = """
import json, os, sys, urllib.request
import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
url = os.environ["MLFLOW_S3_ENDPOINT_URL"]
def client(key):
    if key is None:
        return boto3.client("s3", endpoint_url=url, config=Config(signature_version=UNSIGNED))
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=key[0], aws_secret_access_key=key[1]
    )
def attempt(key):
    found = {}
    for name, ask in {
        "buckets": lambda s3: s3.list_buckets()["Buckets"],
        "list": lambda s3: s3.list_objects_v2(Bucket=bucket, MaxKeys=1)["KeyCount"],
        "put": lambda s3: s3.put_object(Bucket=bucket, Key="attack", Body=b"x") and "put",
        "delete": lambda s3: s3.delete_object(Bucket=bucket, Key="attack") and "deleted",
    }.items():
        try:
            found[name] = str(ask(client(key)))
        except ClientError as error:
            found[name] = error.response["Error"]["Code"]
    return found
own = [os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]]
bucket = client(own).list_buckets()["Buckets"][0]["Name"]
tried = [attempt(own)] + [attempt(key) for key in json.loads(sys.argv[1])]
tried += [attempt([own[0], guess]) for guess in (own[0], "secret", own[1][:-1])]
admin = {}
for path in ("list-users", "create-user", "list-buckets", "delete-user?access=x"):
    request = urllib.request.Request(f"{url}/{path}", method="PATCH")
    try:
        admin[path] = urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        admin[path] = error.code
print(json.dumps({"tried": tried, "admin": admin}))
"""
# XAdminUserNotFound: versitygw's word for a key that it does not know.
REFUSALS = {"AccessDenied", "XAdminUserNotFound", "SignatureDoesNotMatch"}
DEFAULTS = [
    None,
    ["admin", "admin"],
    ["admin", "password"],
    ["root", "root"],
    ["minioadmin", "minioadmin"],
    ["user", "pass"],
    ["test", "test"],
    ["myaccess", "mysecret"],
    ["AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
]


def test_the_bucket_knows_its_own_keys_alone(walk: Walk) -> None:
    """From the one pod that reaches it: nobody, what programs ship with, half of the keys."""
    pod = walk.objects("pods", "mlflow", "app.kubernetes.io/name=mlflow")[0]["metadata"]["name"]
    found = walk.python("mlflow", pod, TRY_KEYS, json.dumps(DEFAULTS))
    own, *others = found["tried"]
    assert own["put"] == "put" and own["delete"] == "deleted", own
    assert len(others) == len(DEFAULTS) + 3
    for answers in others:
        assert set(answers.values()) <= REFUSALS, answers
    assert set(found["admin"].values()) == {403}, found["admin"]


def test_prometheus_takes_no_orders() -> None:
    """Nobody deletes or adds series, reloads it or ends it."""
    with http_client() as client:
        assert client.get(f"{PROMETHEUS}/api/v1/query", params={"query": "up"}).status_code == 200
        for path in (
            "/api/v1/admin/tsdb/delete_series?match[]=up",
            "/api/v1/admin/tsdb/clean_tombstones",
            "/api/v1/admin/tsdb/snapshot",
            "/api/v1/write",
            "/api/v1/otlp/v1/metrics",
            "/-/reload",
            "/-/quit",
        ):
            answer = client.post(f"{PROMETHEUS}{path}")
            assert answer.status_code >= 400, path
            assert "disabled" in answer.text or "enabled" in answer.text, answer.text
        assert client.get(f"{PROMETHEUS}/-/healthy").status_code == 200
