"""The sign-in in front of MLflow: oauth2-proxy, on a host of its own at the gateway.

Options: https://oauth2-proxy.github.io/oauth2-proxy/configuration/overview (7.15)
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from settings.mlflow import Mlflow
from settings.sign_in import Oidc, SignIn

from . import common, istio, mlflow, network
from .common import Manifest, Text

SERVER = "mlflow-sign-in"
PORT = 4180
_SECRETS, _CONFIG = "/etc/sign-in/secrets", "/etc/sign-in/config"
CONFIG_FILE, EMAILS_FILE, PAGE_FILE, AUTHORITIES_FILE = (
    "oauth2-proxy.cfg",
    "emails",
    "sign_in.html",
    "ca.pem",
)
COOKIE, CLIENT, PASSWORDS = "cookie_secret", "client_secret", "htpasswd"
# Nobody answers there: who signs in by a list has no issuer, and the proxy cannot do without.
_NOBODY = "http://127.0.0.1:1"
# What programs and the page's own scripts ask: they get a status, not a page to sign in.
_ASKED_BY_PROGRAMS = r"^/(api|ajax-api|graphql|v1|version|health|get-artifact|model-versions)(/|$)"
_SECONDS = 300

# The proxy's own page has a button for an issuer, which there is none of.
PAGE = """{{define "sign_in.html"}}<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in to MLflow</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 20rem; padding: 0 1rem }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit }
input, button { margin: .25rem 0 1rem; padding: .5rem }
</style>
<h1>MLflow</h1>
{{if eq .StatusCode 400 401}}<p role="alert">That name and password are not known.</p>{{end}}
<form method="post" action="{{.ProxyPrefix}}/sign_in">
<input type="hidden" name="rd" value="{{.Redirect}}">
<label for="username">Name</label>
<input id="username" name="username" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
</form>
</html>{{end}}
"""


def selector() -> dict[str, str]:
    """The labels that pick the proxy's pods."""
    return common.selector(SERVER, SERVER)


def labels() -> dict[str, str]:
    """The labels of the proxy's objects."""
    return common.labels(SERVER, SERVER, "sign-in")


def secret_names(sign_in: SignIn) -> tuple[str, str]:
    """The keys that `slipway:mlflowSignIn` must have."""
    return COOKIE, PASSWORDS if sign_in.basic else CLIENT


def files(
    settings: Mlflow, upstream: str, secret: str, authorities: str | None = None
) -> dict[str, str]:
    """The proxy's files, name -> text; no secret is in them.

    settings: with a sign-in and its URL. upstream: MLflow's URL. secret: the name of the Secret;
    with another one nobody is signed in any more. authorities: PEM that vouches for the issuer, if
    no public authority does.
    """
    sign_in = settings.sign_in
    if sign_in is None or settings.url is None:
        raise ValueError("a sign-in has a host and a URL")
    options: dict[str, object] = {
        "http_address": f"0.0.0.0:{PORT}",
        "upstreams": [upstream],
        # A sidecar tells services apart by this header: with the client's own it knows no service,
        # and the request leaves it without a certificate.
        "pass_host_header": False,
        "redirect_url": f"{settings.url}/oauth2/callback",
        "whitelist_domains": [urlsplit(settings.url).netloc],
        # The gateway tells the scheme and the client's address; what else a client says is its own.
        "reverse_proxy": True,
        "real_client_ip_header": "X-Envoy-External-Address",
        # A cookie holds who signed in, whatever the list says since: another list, another cookie.
        "cookie_name": f"_slipway_mlflow_{hashlib.sha256(secret.encode()).hexdigest()[:8]}",
        "cookie_secret_file": f"{_SECRETS}/{COOKIE}",
        "cookie_secure": True,
        "cookie_httponly": True,
        "cookie_samesite": "lax",
        "cookie_expire": "12h",
        "api_routes": [_ASKED_BY_PROGRAMS],
        "upstream_timeout": f"{_SECONDS}s",
        "pass_access_token": False,
        "pass_authorization_header": False,
        "pass_user_headers": True,
        # In the place of what the client sent: MLflow sees nobody's password and no token.
        "pass_basic_auth": True,
        "basic_auth_password": "none",
        # A line for each request is the gateway's to write; those who sign in are written here.
        "request_logging": False,
        "silence_ping_logging": True,
    }
    found: dict[str, str] = {}
    if sign_in.oidc is not None:
        options |= _issuer(sign_in.oidc, authorities is not None)
        found[EMAILS_FILE] = "".join(f"{each}\n" for each in _people(sign_in.oidc))
        if authorities is not None:
            found[AUTHORITIES_FILE] = authorities
    else:
        options |= _list()
        found[PAGE_FILE] = PAGE
    return {CONFIG_FILE: "".join(_toml(*each) for each in options.items()), **found}


def _issuer(oidc: Oidc, own_authorities: bool) -> dict[str, object]:
    domains = [each.removeprefix("@") for each in oidc.emails if each.startswith("@")]
    options: dict[str, object] = {
        "provider": "oidc",
        "oidc_issuer_url": oidc.issuer,
        "client_id": oidc.client_id,
        "client_secret_file": f"{_SECRETS}/{CLIENT}",
        "scope": "openid email profile" + (" groups" if oidc.groups else ""),
        "code_challenge_method": "S256",
        "skip_provider_button": True,
        # ID tokens for this client, of programs, as MLFLOW_TRACKING_TOKEN has them.
        "skip_jwt_bearer_tokens": True,
        "bearer_token_login_fallback": False,
        "allowed_groups": oidc.groups,
        # Groups are those of the last sign-in or renewal; who cannot renew signs in once more.
        "cookie_refresh": "1h",
        # Without a list of people the groups alone decide.
        "email_domains": domains if oidc.emails else ["*"],
    }
    if _people(oidc):
        options["authenticated_emails_file"] = f"{_CONFIG}/{EMAILS_FILE}"
    if own_authorities:
        options["provider_ca_files"] = [f"{_CONFIG}/{AUTHORITIES_FILE}"]
    return options


def _list() -> dict[str, object]:
    return {
        "provider": "oidc",
        "oidc_issuer_url": _NOBODY,
        "skip_oidc_discovery": True,
        "login_url": f"{_NOBODY}/authorize",
        "redeem_url": f"{_NOBODY}/token",
        "oidc_jwks_url": f"{_NOBODY}/keys",
        "client_id": "nobody",
        "client_secret": "nobody",
        # Nobody of an issuer is let in: no domain, no list of addresses.
        "htpasswd_file": f"{_SECRETS}/{PASSWORDS}",
        "display_htpasswd_form": True,
        "custom_templates_dir": _CONFIG,
    }


def _people(oidc: Oidc) -> list[str]:
    return [each for each in oidc.emails if not each.startswith("@")]


def _toml(key: str, value: object) -> str:
    def shown(item: object) -> str:
        if isinstance(item, bool):
            return str(item).lower()
        if isinstance(item, list):
            return f"[{', '.join(map(shown, item))}]"
        text = str(item).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'

    return f"{key} = {shown(value)}\n"


def digest(found: dict[str, str]) -> str:
    """A hash of the files: others are other pods."""
    return hashlib.sha256("\0".join(f"{k}\0{v}" for k, v in found.items()).encode()).hexdigest()


def deployment(image: Text, config_map: Text, secret: Text, config_digest: Text) -> Manifest:
    """The spec of the Deployment: two, for nobody gets in without them."""
    return {
        "replicas": 2,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 240,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "selector": {"matchLabels": selector()},
        "template": {
            "metadata": {
                "labels": labels(),
                "annotations": {"slipway.dev/config-sha256": config_digest},
            },
            "spec": common.pod(
                SERVER,
                terminationGracePeriodSeconds=30,
                affinity=common.apart(selector()),
                containers=[
                    common.container(
                        SERVER,
                        image,
                        ["/bin/oauth2-proxy", f"--config={_CONFIG}/{CONFIG_FILE}"],
                        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                        resources={
                            "requests": {"cpu": "20m", "memory": "64Mi"},
                            "limits": {"cpu": "1", "memory": "128Mi"},
                        },
                        livenessProbe=common.http_probe(
                            "/ping", "http", period=10, timeout=5, failures=3
                        ),
                        readinessProbe=common.http_probe(
                            "/ready", "http", period=5, timeout=5, failures=2
                        ),
                        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
                        volumeMounts=[
                            common.mount("config", _CONFIG, read_only=True),
                            common.mount("secrets", _SECRETS, read_only=True),
                        ],
                    )
                ],
                volumes=[
                    {"name": "config", "configMap": {"name": config_map}},
                    {"name": "secrets", "secret": {"secretName": secret, "defaultMode": 0o440}},
                ],
            ),
        },
    }


def network_policy(namespace: Text, oidc: Oidc | None) -> Manifest:
    """The spec of the NetworkPolicy: in from the gateways, out to MLflow and to the issuer."""
    rules = [
        {
            "to": [network.pods(mlflow.selector(), namespace)],
            "ports": [network.tcp(mlflow.PORT)],
        }
    ]
    if oidc is not None:
        port = urlsplit(oidc.issuer).port or 443
        rules.append({"to": [network.off_the_machine()], "ports": [network.tcp(port)]})
    return network.ingress(selector(), PORT, [istio.gateways()]) | network.egress(rules)


def virtual_service(host: str, gateway: Text, service_host: Text) -> Manifest:
    """The spec of the VirtualService: all of one host, and nothing of another.

    Envoy takes the most specific host, so no model's path is served on this one, whose routes are
    on every host without routes of its own; and MLflow is on no other.
    """
    return {
        "hosts": [host],
        "gateways": [gateway],
        "http": [
            {
                "name": "mlflow",
                "route": [{"destination": {"host": service_host, "port": {"number": PORT}}}],
                # No timeout: a model may take long to come through, and it would count all of it.
            }
        ],
    }
