"""What stands around MLflow in production, in a namespace of the tests' own: a PostgreSQL with TLS
from an authority of theirs, and an issuer of OpenID Connect.
"""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.harness import Walk, run

NAMESPACE = "elsewhere"
POSTGRES = f"postgres.{NAMESPACE}.svc.cluster.local"
ISSUER = f"issuer.{NAMESPACE}.svc.cluster.local"
IMAGE = "docker.io/library/postgres:15-bookworm"

_START = """set -eu
cp /given/* /data/ && chmod 600 /data/tls.key
printf '%s' "$ADMIN" > /tmp/admin
cd /usr/lib/postgresql/15/bin
./initdb -D /data/db -A scram-sha-256 --pwfile=/tmp/admin -U admin > /tmp/init.log
echo 'hostssl all all all scram-sha-256' > /data/db/pg_hba.conf
echo 'local all all trust' >> /data/db/pg_hba.conf
exec ./postgres -D /data/db -c listen_addresses='*' -c ssl=on \
  -c ssl_cert_file=/data/tls.crt -c ssl_key_file=/data/tls.key -c unix_socket_directories=/tmp
"""


class Authority:
    """A certificate authority that lives as long as the tests."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._own = self._signed(self._name, self._key, None)
        self.pem = self._own.public_bytes(serialization.Encoding.PEM).decode()

    def certificate(self, host: str) -> dict[str, str]:
        """A certificate of a host, and its key: the files tls.crt and tls.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        made = self._signed(name, key, host)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = made.public_bytes(serialization.Encoding.PEM)
        return {"tls.crt": public.decode(), "tls.key": private.decode()}

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            made = made.add_extension(names, critical=False)
        return made.sign(self._key, hashes.SHA256())


def apply(walk: Walk, *objects: dict[str, Any]) -> None:
    """Have these objects in the cluster."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    run(["kubectl", "--context", "slipway", "apply", "-f", "-"], walk.environment, stdin=text)


def pod(
    name: str, image: str, command: list[str], port: int, files: dict[str, str], **fields: Any
) -> list[dict[str, Any]]:
    """A pod with these files under /given, and a Service of its name."""
    labels = {"app": name}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}
    container = {
        "name": name,
        "image": image,
        "command": command,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "given", "mountPath": "/given"},
            {"name": "data", "mountPath": "/data"},
        ],
        **fields,
    }
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
        "containers": [container],
        "volumes": [
            {"name": "given", "secret": {"secretName": name}},
            {"name": "data", "emptyDir": {}},
        ],
    }
    service = {"selector": labels, "ports": [{"port": port}]}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]


def postgres(walk: Walk, authority: Authority, password: str) -> None:
    """A PostgreSQL that takes TLS alone, with a database and a user `mlflow`, once it answers."""
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    env = [{"name": "ADMIN", "value": "of-the-tests"}]
    files = authority.certificate(POSTGRES)
    apply(walk, home, *pod("postgres", IMAGE, ["sh", "-c", _START], 5432, files, env=env))
    wait = ("--for=condition=Ready", "--timeout=90s")
    walk.kubectl("wait", "-n", NAMESPACE, "pod/postgres", *wait, seconds=100)
    sql(walk, f"CREATE ROLE mlflow LOGIN PASSWORD '{password}'")
    sql(walk, "CREATE DATABASE mlflow OWNER mlflow")


def sql(walk: Walk, text: str, database: str = "postgres") -> list[str]:
    """What the database's administrator is told, line by line."""
    words = ["psql", "-h", "/tmp", "-U", "admin", "-d", database, "-AtqX", "-v", "ON_ERROR_STOP=1"]
    return walk.kubectl(
        "exec", "-n", NAMESPACE, "postgres", "--", *words, "-c", text
    ).out.splitlines()
