"""What can be known before the first resource is registered: is the cluster there, are the
versions registered?

A thin edge around sockets. Each fault is one line that names the key, the value and the remedy.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pulumi
import yaml

from components.manifests import mlflow_files, receiver_secrets, sign_in_secrets
from settings import Settings
from settings.scaling import needs_keda

CLUSTER_SECONDS = 2.0
MLFLOW_SECONDS = 1.0
CHARTS = ("base", "istio-control/istio-discovery", "gateway")
_REMEDY = (
    "start the one-machine cluster with `make up`, "
    "or name another: pulumi config set slipway:context <name>"
)

Fetch = Callable[[str], Mapping[str, Any]]


def check(
    settings: Settings,
    trained: Mapping[str, Sequence[int]],
    told: Mapping[str, str] | None = None,
    entry: Mapping[str, str] | None = None,
    read: Callable[[str], object] | None = None,
) -> None:
    """Raise `pulumi.RunError`, a line for each fault, if this update could not succeed.

    `trained`: model -> versions that the update itself registers, before anything needs them.
    `told`: what `slipway:alertSecrets` has, by receivers of alerts; `entry`: what
    `slipway:mlflowSignIn` has. No line shows any of either. `read` raises `pulumi.RunError` for a
    secret that is not as it has to be; without it the stack's own secrets are not looked at.
    """
    with ThreadPoolExecutor(max_workers=len(settings.models) + 1) as pool:
        # A cluster on AWS is made by the update itself.
        ground = pool.submit(
            aws_faults if settings.aws else lambda it: cluster_faults(it.context or ""), settings
        )
        url = settings.mlflow.url
        wanted = {
            name: {f"models.{name}.{key}": version for key, version in model.roles.items()}
            for name, model in settings.models.items()
        }
        asked = [
            pool.submit(
                version_faults, name, keys, trained.get(name, ()), lambda path: _get(f"{url}{path}")
            )
            for name, keys in wanted.items()
            if url and set(keys.values()) - set(trained.get(name, ()))
        ]
        charts = (*CHARTS, "istio-cni") if settings.istio.sidecars else CHARTS
        faults = chart_faults("istio.charts", settings.istio.charts, charts)
        if needs_keda(model.scaling for model in settings.models.values()):
            faults += chart_faults("keda.chart", settings.keda.chart, ("",))
        told = told or {}
        secrets = receiver_secrets.faults(settings.alerts, told)
        faults += secrets or receiver_secrets.value_faults(settings.alerts, told)
        faults += sign_in_secrets.faults(settings.mlflow.sign_in, entry or {})
        faults += mlflow_files.faults(settings.mlflow)
        faults += secret_faults(settings, read) if read else []
        faults += ground.result()
        faults += [fault for answer in asked for fault in answer.result()]
    if faults:
        raise pulumi.RunError("\n".join(faults))


def secret_faults(settings: Settings, read: Callable[[str], object]) -> list[str]:
    """A fault for each secret that the stack has to have and `read` refuses."""
    wanted = [] if settings.aws else ["bucketAccessKey", "bucketSecretKey"]
    if settings.mlflow.database and not settings.aws:
        wanted.append("mlflowDatabasePassword")
    if settings.grafana.enabled:
        wanted.append("grafanaPassword")
    faults = []
    for key in wanted:
        try:
            read(key)
        except pulumi.RunError as error:
            faults.append(str(error))
    return faults


def chart_faults(key: str, directory: str, charts: Sequence[str]) -> list[str]:
    """A fault of `key` if one of `charts`, each a directory, does not lie in `directory`."""
    missing = [chart for chart in charts if not (Path(directory) / chart / "Chart.yaml").is_file()]
    if not missing:
        return []
    return [
        f'slipway:{key}: "{directory}" has no {f"chart {missing[0]}" if missing[0] else "chart"}; '
        "`make up` puts it there, or unpack that of a release"
    ]


def aws_faults(settings: Settings) -> list[str]:
    """What AWS says against this update; what was not checked is a warning of Pulumi's."""
    # boto3 takes a quarter of a second, and stacks elsewhere need none.
    import preflight_aws

    if settings.aws is None:
        return []
    previewed = pulumi.runtime.is_dry_run()
    faults = []
    for finding in preflight_aws.check(pulumi.get_stack(), settings.aws):
        if finding.note or (finding.in_preview and previewed):
            pulumi.log.warn(finding.line)
        else:
            faults.append(finding.line)
    return faults


def cluster_faults(context: str, timeout: float = CLUSTER_SECONDS) -> list[str]:
    """A fault if the kubeconfig has no such context, or its API server does not answer in
    `timeout` seconds.
    """
    try:
        contexts, clusters = _kubeconfig()
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [f"slipway:context: no kubeconfig can be read ({_brief(error)}); {_REMEDY}"]
    if context not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        return [
            f'slipway:context: "{context}" is no context of the kubeconfig '
            f"(there: {known}); {_REMEDY}"
        ]
    cluster = clusters.get(contexts[context], {})
    server = urlsplit(cluster.get("server", ""))
    if cluster.get("proxy-url"):
        return []  # reached by way of a proxy: only the provider can tell
    try:
        _handshake(
            server.hostname or "",
            server.port or (80 if server.scheme == "http" else 443),
            server.scheme,
            timeout,
        )
    except OSError as error:
        return [
            f'slipway:context: the API server of "{context}" at {server.geturl()} '
            f"does not answer ({_brief(error)}); {_REMEDY}"
        ]
    return []


def version_faults(
    name: str, wanted: Mapping[str, int], trained: Sequence[int], fetch: Fetch
) -> list[str]:
    """A fault for each of the `wanted` versions (key -> version) of model `name` that is not
    registered.

    `fetch` asks MLflow for a path. If it does not answer there is nothing to say yet: the init
    containers ask again.
    """
    query = urlencode({"filter": f"name='{name}'", "max_results": 1000}, quote_via=quote)
    try:
        found = fetch(f"/api/2.0/mlflow/model-versions/search?{query}").get("model_versions", [])
        registered = sorted({int(version["version"]) for version in found})
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return []
    shown = ", ".join(map(str, registered)) or "none"
    return [
        f"slipway:{key}: {version} is not a registered version of {name} (registered: {shown}); "
        "register it in MLflow first, or name one that is"
        for key, version in wanted.items()
        if version not in registered and version not in trained
    ]


def _kubeconfig() -> tuple[dict[str, str], dict[str, Mapping[str, Any]]]:
    """Contexts (name -> cluster) and clusters (name -> its entry) of all files that KUBECONFIG
    names.
    """
    named = [Path(path) for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    contexts: dict[str, str] = {}
    clusters: dict[str, Mapping[str, Any]] = {}
    paths = named or [Path.home() / ".kube" / "config"]
    texts = [path.read_text() for path in paths if path.exists()]
    if not texts:
        raise FileNotFoundError(f"there is no {os.pathsep.join(map(str, paths))}")
    for text in texts:
        content = yaml.safe_load(text) or {}
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        for entry in content.get("contexts") or []:
            contexts.setdefault(entry["name"], entry["context"]["cluster"])
        for entry in content.get("clusters") or []:
            clusters.setdefault(entry["name"], entry["cluster"])
    return contexts, clusters


def _handshake(host: str, port: int, scheme: str, timeout: float) -> None:
    with socket.create_connection((host, port), timeout) as plain:
        if scheme == "https":
            # Nothing is sent, so nothing is trusted: whether it is the right server is the
            # provider's to check.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.wrap_socket(plain, server_hostname=host).close()


def _get(url: str) -> Mapping[str, Any]:
    """The JSON at `url`, past any proxy of the environment, signed in as MLflow's own client is.

    Raises OSError or ValueError.
    """
    request = Request(url)  # noqa: S310  http or https: settings say so
    if authorization := _authorization(os.environ):
        # Not for where the answer may send us.
        request.add_unredirected_header("Authorization", authorization)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=MLFLOW_SECONDS) as answer:
            return dict(json.load(answer))
    except HTTPError as error:
        error.close()
        raise


def _authorization(env: Mapping[str, str]) -> str | None:
    """The header of a request to MLflow, of the environment that MLflow's client reads."""
    user, password = (env.get(f"MLFLOW_TRACKING_{it}") for it in ("USERNAME", "PASSWORD"))
    if user and password:
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    token = env.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _brief(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return (" ".join(text.split()) or type(error).__name__)[:160]
