"""MLflow as in production, on the real cluster and in its mesh: a PostgreSQL with TLS, two servers,
a sign-in in front of them, a password that changes, and a restore of what was lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import httpx
import yaml

from tests.e2e import production_parts as parts
from tests.e2e.harness import BODY, JSON_TYPE, until
from tests.e2e.production import (
    GATEWAY,
    HOST,
    MLFLOW,
    PASSWORD,
    PERSON,
    PORTS,
    Production,
)
from tests.e2e.production_parts import POSTGRES, sql

SECOND = "second:of\\the tests"
SEARCH = "/api/2.0/mlflow/registered-models/search?max_results=10"

# The name is not in any name server: the gateway is on this machine.
REGISTER = f"""
import os, socket, sys
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: found(
    "127.0.0.1" if host == {HOST!r} else host, *more, **named)
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
code = sys.argv[1]
open(code, "w").write('''
import mlflow
class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["x"] * 2
mlflow.models.set_model(Twice())
''')
signature = ModelSignature(Schema([ColSpec("double", "x")]), Schema([ColSpec("double")]))
mlflow.set_tracking_uri({MLFLOW!r})
with mlflow.start_run():
    made = mlflow.pyfunc.log_model(name="kept", python_model=code, signature=signature,
        pip_requirements=["mlflow"], registered_model_name="kept")
print(made.registered_model_version)
"""


def test_a_job_migrates_and_the_servers_do_not(production: Production) -> None:
    log = production.kubectl("logs", "-n", "mlflow", "job/mlflow-migrate", "-c", "migrate").text
    assert "Creating initial MLflow database tables" in log
    assert "database: at revision " in log
    for name in production.trackers():
        log = production.kubectl("logs", "-n", "mlflow", name, "-c", "mlflow").text
        assert "Updating database tables" not in log
    encrypted = sql(
        production,
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        "WHERE usename = 'mlflow'",
    )
    assert encrypted == ["t"]


def migrations(production: Production, *names: str, database: str = "mlflow") -> None:
    """Start the migration's Job once more under each name, on a database."""
    found = json.loads(
        production.kubectl("get", "job/mlflow-migrate", "-n", "mlflow", "-o", "json").out
    )
    template = found["spec"]["template"]
    labels = template["metadata"]["labels"]
    # Those that the first Job's controller has put there are its own.
    template["metadata"] = {
        "labels": {key: labels[key] for key in labels if "job-name" not in key and "uid" not in key}
    }
    for container in template["spec"]["containers"] + template["spec"]["initContainers"]:
        for variable in container["env"]:
            if variable["name"] == "PGDATABASE":
                variable["value"] = database
            if variable["name"] == "DATABASE_URL":
                variable["value"] = variable["value"].replace(":5432/mlflow", f":5432/{database}")
    parts.apply(
        production,
        *(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": name, "namespace": "mlflow"},
                "spec": {"template": template, "backoffLimit": 2},
            }
            for name in names
        ),
    )


REVISION = "SELECT version_num FROM alembic_version"


def test_migrations_run_twice_at_once_and_change_nothing(production: Production) -> None:
    before = sql(production, REVISION, "mlflow")
    migrations(production, "again-1", "again-2")
    for name in ("again-1", "again-2"):
        production.ended(name)
    production.kubectl("delete", "job", "-n", "mlflow", "again-1", "again-2")
    assert sql(production, REVISION, "mlflow") == before


def test_a_migration_that_is_killed_is_taken_up(production: Production) -> None:
    """Killed with some of the tables made; the Job's next pod brings the database there."""
    sql(production, "CREATE DATABASE half OWNER mlflow")
    migrations(production, "killed", database="half")
    tables = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'half' AND usename = 'mlflow'"
    until("a migration under way", lambda: int(sql(production, tables)[0]) > 1, 90, 0.05)
    (pod,) = production.objects("pods", "mlflow", "job-name=killed")
    name = pod["metadata"]["name"]
    production.kubectl("delete", "pod", "-n", "mlflow", name, "--force", "--grace-period=0")
    production.ended("killed")
    assert sql(production, REVISION, "half") == sql(production, REVISION, "mlflow")
    made = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert set(sql(production, made, "half")) == set(sql(production, made, "mlflow"))
    production.kubectl("delete", "job", "-n", "mlflow", "killed")
    sql(production, "DROP DATABASE half WITH (FORCE)")


def test_nobody_gets_in_without_signing_in(production: Production) -> None:
    ask = production.ask
    assert ask(SEARCH).status_code == 401
    assert ask(SEARCH, auth=(PERSON, "wrong")).status_code == 401
    assert ask(SEARCH, headers={"authorization": "Bearer of.no.use"}).status_code == 401
    page = ask("/")
    assert page.status_code == 403
    assert "Sign in to MLflow" in page.text
    assert "MLFLOW" not in page.text
    known = ask(SEARCH, auth=(PERSON, PASSWORD))
    assert known.status_code == 200
    assert "churn" in {each["name"] for each in known.json()["registered_models"]}


def test_a_person_signs_in_by_the_page(production: Production) -> None:
    form = {"username": PERSON, "password": PASSWORD, "rd": "/"}
    answer = production.ask("/oauth2/sign_in", method="POST", data=form)
    assert answer.status_code == 302
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert production.ask("/", headers={"cookie": cookie}).status_code == 200
    origin = {"cookie": cookie, "origin": MLFLOW, "content-type": "application/json"}
    made = production.ask(
        "/ajax-api/2.0/mlflow/experiments/create",
        method="POST",
        headers=origin,
        json={"name": "by the page"},
    )
    assert made.status_code == 200, made.text
    # MLflow's answer to a page of another host has no end: its status says enough.
    address = f"{GATEWAY}/ajax-api/2.0/mlflow/experiments/create"
    headers = origin | {"origin": "https://evil.example", "host": f"{HOST}:{PORTS['gateway']}"}
    with (
        httpx.Client(timeout=30, trust_env=False, verify=False) as client,  # noqa: S501
        client.stream("POST", address, headers=headers, json={"name": "by another"}) as answer,
    ):
        assert answer.status_code == 403


def test_hosts_do_not_mix(production: Production) -> None:
    more = {"method": "POST", "content": BODY, "headers": JSON_TYPE}
    path = "/models/churn/invocations"
    assert production.ask(path, host="models.example.test", **dict(more)).status_code == 200
    mine = production.ask(path, auth=(PERSON, PASSWORD), **dict(more))
    assert mine.status_code in (404, 405)
    assert "x-model-version" not in mine.headers
    for host in ("models.example.test", "127.0.0.1"):
        assert production.ask(SEARCH, host=host, auth=(PERSON, PASSWORD)).status_code == 404


def test_mlflow_reaches_nothing_but_what_it_needs(production: Production) -> None:
    """An answer counts, for the sidecar takes every connection itself."""
    code = """
import json, socket, ssl, struct, sys
def answers(host, port):
    try:
        with socket.create_connection((host, port), 5) as link:
            link.settimeout(5)
            if port == 5432:
                link.sendall(struct.pack("!ii", 8, 80877103))
                return link.recv(1) == b"S"
            if port == 443:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.wrap_socket(link).close()
                return True
            link.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode())
            return link.recv(20).split()[1:2] not in ([], [b"503"])
    except OSError:
        return False
print(json.dumps({place: answers(place.rpartition(":")[0], int(place.rpartition(":")[2]))
                  for place in sys.argv[1:]}))
"""
    api = "kubernetes.default.svc.cluster.local:443"
    mine = f"{POSTGRES}:5432"
    store = "versitygw.mlflow.svc.cluster.local:7070"
    prometheus = "prometheus.monitoring.svc.cluster.local:9090"
    name = next(iter(production.trackers()))
    words = ("-c", "mlflow", "--", "python", "-c", code, api, mine, store, prometheus)
    found = production.kubectl("exec", "-n", "mlflow", name, *words).out
    assert json.loads(found) == {api: False, mine: True, store: True, prometheus: False}


def test_a_new_password_needs_no_restart(production: Production) -> None:
    before = production.trackers()
    sql(production, f"ALTER ROLE mlflow PASSWORD '{SECOND}'")
    production.secret("mlflowDatabasePassword", SECOND)
    production.deploy()
    start = time.monotonic()
    written = "*:*:*:*:" + SECOND.replace("\\", "\\\\").replace(":", "\\:")

    def renewed() -> bool:
        words = ("-c", "mlflow", "--", "cat", "/run/database/pgpass")
        return all(
            production.kubectl("exec", "-n", "mlflow", name, *words).out.strip() == written
            for name in before
        )

    until("the new password in both pods", renewed, 150, 2)
    production.note(
        f"a new password of the database: in the pods after {time.monotonic() - start:.1f} s"
    )
    sql(
        production,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mlflow'",
    )
    for _ in range(20):
        assert production.ask(SEARCH, auth=(PERSON, PASSWORD)).status_code == 200
    after = production.trackers()
    assert after.keys() == before.keys()
    for each in after.values():
        statuses = each["status"]["containerStatuses"] + each["status"]["initContainerStatuses"]
        assert {it["restartCount"] for it in statuses} == {0}


def test_what_is_lost_is_restored(production: Production) -> None:
    signed_in = {"MLFLOW_TRACKING_USERNAME": PERSON, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    done = subprocess.run(
        [sys.executable, "-c", REGISTER, str(production.project / "kept.py")],
        env=production.environment | signed_in | {"MLFLOW_TRACKING_INSECURE_TLS": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    version = int(done.stdout.strip().splitlines()[-1])
    log = production.job("backup-now", "mlflow-backup")
    assert "new artifacts, 0 old dumps deleted" in log

    start = time.monotonic()
    gone = """
import boto3, json, os
store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
listed = store.list_objects_v2(Bucket="slipway-artifacts", Prefix="mlflow/")["Contents"]
keys = [each["Key"] for each in listed]
for key in keys:
    store.delete_object(Bucket="slipway-artifacts", Key=key)
print(json.dumps(len(keys)))
"""
    name = next(iter(production.trackers()))
    deleted = production.kubectl(
        "exec", "-n", "mlflow", name, "-c", "mlflow", "--", "python", "-c", gone
    ).out
    assert int(deleted) > 5
    production.kubectl("scale", "-n", "mlflow", "deployment/mlflow", "--replicas=0")
    sql(production, "DROP DATABASE mlflow WITH (FORCE)")
    sql(production, "CREATE DATABASE mlflow OWNER mlflow")
    log = production.job("restore-now", "mlflow-restore")
    assert f"{int(deleted)} artifacts put back" in log
    production.kubectl("scale", "-n", "mlflow", "deployment/mlflow", "--replicas=2")
    production.trackers()
    production.note(
        f"MLflow's database and artifacts lost and restored in {time.monotonic() - start:.1f} s"
    )

    content = yaml.safe_load(production.stack_file.read_text())
    content["config"]["slipway:models"]["kept"] = {
        "stable": version,
        "resources": {"cpu": "100m", "memory": "384Mi"},
        "scaling": {"min": 2, "max": 2},
    }
    production.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))
    production.deploy()
    answer = production.ask(
        "/models/kept/invocations",
        host="models.example.test",
        method="POST",
        json={"dataframe_split": {"columns": ["x"], "data": [[21.0]]}},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": [{"x": 42.0}]}
