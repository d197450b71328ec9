"""Signing in to MLflow by an issuer of OpenID Connect: a certified one, on this machine beside the
cluster, as a company's own would be.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from local import instance
from tests import node
from tests.e2e import production_parts as parts
from tests.e2e.harness import until
from tests.e2e.production import HOST, MLFLOW, Production

HERE = Path(__file__).resolve().parent / "issuer"
PORT = 28443
ISSUER = f"https://{parts.ISSUER}:{PORT}"
OWN = "https://127.0.0.1/callback"
ADA, EVE, BOB = "ada@example.com", "eve@elsewhere.test", "bob@example.com"
GROUPS = {ADA: ["risk"], EVE: ["risk"], BOB: ["sales"]}
SEARCH = "/api/2.0/mlflow/registered-models/search?max_results=10"


@dataclass(frozen=True)
class Running:
    """The issuer: its address, and the secret of MLflow as its client."""

    address: str
    secret: str


@dataclass
class Browser:
    """Cookies by host, and a way to each of the two hosts, which no name server has."""

    address: str
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def ask(self, url: str, form: dict[str, str] | None = None) -> httpx.Response:
        """One request, without following where it leads."""
        parts_of = urlsplit(url)
        host = str(parts_of.hostname)
        place = self.address if host == parts.ISSUER else "127.0.0.1"
        mine = self.cookies.setdefault(host, {})
        headers = {"host": parts_of.netloc, "accept": "text/html"}
        if mine:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in mine.items())
        with httpx.Client(timeout=30, trust_env=False, verify=False) as client:  # noqa: S501
            answer = client.request(
                "POST" if form else "GET",
                parts_of._replace(netloc=f"{place}:{parts_of.port}").geturl(),
                headers=headers,
                data=form,
            )
        mine |= dict(answer.cookies.items())
        return answer

    def follow(self, url: str, until_at: str) -> tuple[str, httpx.Response]:
        """Where redirects lead from a URL: to a page, or to the first that begins with `until_at`,
        which is not asked.
        """
        for _ in range(12):
            if url.startswith(until_at):
                return url, httpx.Response(0)
            answer = self.ask(url)
            if not answer.is_redirect:
                return url, answer
            url = urljoin(url, answer.headers["location"])
        raise AssertionError(f"redirects without end: {url}")

    def sign_in(self, url: str, name: str, until_at: str) -> tuple[str, httpx.Response]:
        """From a page that asks to sign in, by the issuer's two forms, to where they lead."""
        for form in ({"prompt": "login", "login": name, "password": "any"}, {"prompt": "consent"}):
            url, page = self.follow(url, until_at)
            target = re.search(r'<form[^>]* action="([^"]+)"', page.text)
            assert target, f"{page.status_code} of {url}: {page.text[:300]}"
            answer = self.ask(urljoin(url, target[1]), form)
            url = urljoin(url, answer.headers["location"])
        return self.follow(url, until_at)


@pytest.fixture(scope="module")
def issuer(production: Production) -> Iterator[Running]:
    """The issuer, with the stack signing in by it."""
    authority = parts.Authority("of the issuer")
    address = instance.load(production.name).host_ip
    secret = secrets.token_hex(20)
    tls = authority.certificate(parts.ISSUER)
    told = {
        "address": address,
        "port": PORT,
        "issuer": ISSUER,
        "tls": {"key": tls["tls.key"], "cert": tls["tls.crt"]},
        "secret": secret,
        "redirects": [f"{MLFLOW}/oauth2/callback", OWN],
        "groups": GROUPS,
    }
    command = node.node()
    assert command is not None and (HERE / "node_modules/complete").exists(), "make test installs"
    log = production.project / "issuer.log"
    process = subprocess.Popen(
        [*command, str(HERE / "issuer.mjs")],
        stdin=subprocess.PIPE,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(told))
        process.stdin.close()
        until("the issuer", lambda: "listening" in log.read_text() or process.poll(), 30)
        assert process.poll() is None, log.read_text()
        _introduce(production, address)
        (production.project / "issuer-ca.pem").write_text(authority.pem)
        oidc = {
            "issuer": ISSUER,
            "client_id": "mlflow",
            "emails": ["@example.com"],
            "groups": ["risk"],
            "ca": "issuer-ca.pem",
        }
        production.configure({"mlflow": {"sign_in": {"host": HOST, "oidc": oidc}}})
        production.pulumi("config", "rm", "--path", "slipway:mlflowSignIn.htpasswd")
        production.secret("mlflowSignIn.client_secret", secret)
        production.deploy()
        yield Running(address, secret)
    finally:
        process.kill()
        process.wait()


def _introduce(production: Production, address: str) -> None:
    """Give the issuer, outside the cluster, a name inside."""
    metadata: dict[str, Any] = {"name": "issuer", "namespace": parts.NAMESPACE}
    labels = {"kubernetes.io/service-name": "issuer"}
    parts.apply(
        production,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "tls", "port": PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "tls", "port": PORT}],
            "endpoints": [{"addresses": [address]}],
        },
    )


def test_a_person_of_the_issuer_gets_in(production: Production, issuer: Running) -> None:
    browser = Browser(issuer.address)
    _, page = browser.sign_in(f"{MLFLOW}/", ADA, "nowhere")
    assert page.status_code == 200
    assert "MLflow" in page.text
    # The session goes on without the issuer.
    assert browser.ask(f"{MLFLOW}{SEARCH}").status_code == 200
    assert Browser(issuer.address).ask(f"{MLFLOW}{SEARCH}").status_code == 401


@pytest.mark.parametrize("name", [EVE, BOB])
def test_of_another_domain_or_group_nobody_does(
    production: Production, issuer: Running, name: str
) -> None:
    browser = Browser(issuer.address)
    _, page = browser.sign_in(f"{MLFLOW}/", name, "nowhere")
    assert page.status_code == 403, page.text[:300]
    assert browser.ask(f"{MLFLOW}{SEARCH}").status_code == 401


def id_token(issuer: Running, name: str) -> str:
    """An ID token that the issuer made for MLflow's client, as a program gets one."""
    given = (f"{ISSUER}/auth?client_id=mlflow&response_type=code&scope=openid+email+profile+groups"
             f"&redirect_uri={OWN}&state=of-the-tests")  # fmt: skip
    browser = Browser(issuer.address)
    url, _ = browser.sign_in(given, name, OWN)
    code = parse_qs(urlsplit(url).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": OWN}
    with httpx.Client(timeout=30, trust_env=False, verify=False) as client:  # noqa: S501
        answer = client.post(
            f"https://{issuer.address}:{PORT}/token",
            headers={"host": f"{parts.ISSUER}:{PORT}"},
            data=form,
            auth=("mlflow", issuer.secret),
        )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id_token"])


def test_a_program_has_a_token(production: Production, issuer: Running) -> None:
    """MLFLOW_TRACKING_TOKEN: an ID token of whom a page would let in, and of nobody else."""
    for name, status in ((ADA, 200), (BOB, 403)):
        bearer = {"authorization": f"Bearer {id_token(issuer, name)}"}
        assert production.ask(SEARCH, headers=bearer).status_code == status
    assert production.ask(SEARCH, headers={"authorization": "Bearer of.no.use"}).status_code == 403
