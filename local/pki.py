"""Certificates and kubeconfigs of one instance.

One authority signs everything; a second one signs the aggregation layer's front proxy, as
https://kubernetes.io/docs/setup/best-practices/certificates/ asks. Keys are ECDSA P-256, readable
by root alone, and live as long as the instance: one year.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.instance import Instance

LIFETIME = datetime.timedelta(days=365)
NODE_NAME = "slipway"
SERVICE_IP = "10.96.0.1"

# Who speaks to the API server: name of the file → (user, group).
CLIENTS = {
    "admin": ("slipway-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kube-proxy": ("system:kube-proxy", None),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "coredns": ("system:coredns", None),
    "metrics-server": ("system:metrics-server", None),
    "local-path-provisioner": ("system:local-path-provisioner", None),
    "kube-router": ("system:kube-router", None),
    "apiserver-kubelet-client": ("kube-apiserver-kubelet-client", "system:masters"),
}


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate and the key it signs with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def write_all(instance: Instance) -> None:
    """Write the instance's certificates, once, and its kubeconfigs."""
    directory = instance.state / "pki"
    finished = directory / "complete"
    if finished.exists():
        _kubeconfigs(instance)
        return
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    authority = _authority(directory, "ca", "slipway")
    front = _authority(directory, "front-proxy-ca", "slipway-front-proxy")
    _issue(
        directory,
        "apiserver",
        authority,
        "kube-apiserver",
        hosts=[
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ],
        addresses=[SERVICE_IP, "127.0.0.1", instance.node_ip],
    )
    _issue(
        directory,
        "kubelet-server",
        authority,
        f"system:node:{NODE_NAME}",
        hosts=[NODE_NAME],
        addresses=[instance.node_ip],
    )
    _issue(
        directory,
        "metrics-server-tls",
        authority,
        "metrics-server",
        hosts=["metrics-server.kube-system.svc"],
    )
    _issue(directory, "front-proxy-client", front, "front-proxy-client")
    service_accounts = ec.generate_private_key(ec.SECP256R1())
    write_private(directory / "service-accounts.key", _pem_key(service_accounts))
    (directory / "service-accounts.pub").write_bytes(
        service_accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    for name, (user, group) in CLIENTS.items():
        _issue(directory, name, authority, user, group=group)
    _kubeconfigs(instance)
    finished.touch()


def _kubeconfigs(instance: Instance) -> None:
    """Written at every start: they name the API's port, which may be another this time."""
    port = instance.ports["api"]
    for name in CLIENTS:
        _kubeconfig(instance, name, f"https://{instance.node_ip}:{port}")
    _kubeconfig(instance, "admin", f"https://127.0.0.1:{port}", path=instance.kubeconfig)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_pair(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    write_private(directory / f"{name}.key", _pem_key(key))
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        # A clock that is set back a little must not make everything invalid.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _authority(directory: Path, name: str, common_name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(subject, subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(directory, name, certificate, key)
    return Authority(certificate, key)


def _issue(
    directory: Path,
    name: str,
    authority: Authority,
    common_name: str,
    *,
    group: str | None = None,
    hosts: list[str] | None = None,
    addresses: list[str] | None = None,
) -> None:
    """Issue one certificate: a server's if it has hosts or addresses, else a client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts or []]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses or []]
    usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(x509.Name(attributes), authority.certificate.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write_pair(directory, name, builder.sign(authority.key, hashes.SHA256()), key)


def _kubeconfig(instance: Instance, name: str, server: str, path: Path | None = None) -> None:
    directory = instance.state / "pki"

    def encoded(file: str) -> str:
        return base64.b64encode((directory / file).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "slipway",
                "cluster": {"server": server, "certificate-authority-data": encoded("ca.crt")},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": encoded(f"{name}.crt"),
                    "client-key-data": encoded(f"{name}.key"),
                },
            }
        ],
        "contexts": [{"name": "slipway", "context": {"cluster": "slipway", "user": name}}],
        "current-context": "slipway",
    }
    # JSON is YAML; every reader of kubeconfigs takes it.
    write_private(
        path or directory / f"{name}.kubeconfig", json.dumps(document, indent=2).encode() + b"\n"
    )
