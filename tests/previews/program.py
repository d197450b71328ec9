"""Slipway's own components without a cluster: the provider writes manifests to a directory."""

import json
import os
from types import SimpleNamespace

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import Service

import components as c
from components.gateway_tracing import GatewayTracing, GatewayTracingArgs
from settings import SettingsError, parse

config = pulumi.Config("slipway")
values = json.loads(config.require("values"))
build = values.pop("test-build", 0)
digest = values.pop("test-digest", "1") * 64
bucket = values.pop("test-bucket", True)
watch = values.pop("test-watch", False)
given = {"context": "test", "registry": "registry.test", "istio": {"charts": "charts"}}
try:
    stack = parse(given | values)
except SettingsError as error:
    raise pulumi.RunError(str(error)) from None

provider = Provider("cluster", render_yaml_to_directory=os.environ["RENDERED"])
opts = pulumi.ResourceOptions(providers=[provider])
serving, registry = (
    c.IsolatedNamespace(name, c.IsolatedNamespaceArgs(name), opts).namespace
    for name in ("models", "mlflow")
)
if bucket:
    keys = c.BucketKeys(
        config.require_secret("bucketAccessKey"), config.require_secret("bucketSecretKey")
    )
    store = c.ArtifactBucketArgs(registry, keys, stack.artifact_bucket, stack.images.versitygw)
    c.ArtifactBucket("artifacts", store, opts)
if watch:
    watched = c.ObservabilityArgs(stack, "monitoring", {"models": serving}, None, None, None)
    c.Observability("observability", watched, opts)
image: pulumi.Input[str] = f"registry.test/slipway@sha256:{digest}"
if build:
    # Its status is unknown until it is there, as the digest of an image is until it is built.
    made = Service(
        f"build-{build}",
        metadata={"name": f"build-{build}", "namespace": "models"},
        opts=pulumi.ResourceOptions(provider=provider),
    )
    image = made.status.apply(lambda _: f"registry.test/slipway@sha256:{str(build) * 64}")
if stack.tracing.collector:
    traces = GatewayTracingArgs(
        "istio-ingress", stack.tracing.collector, stack.tracing.sample, after=()
    )
    GatewayTracing("mesh-tracing", traces, opts)
scraper = c.scraper(stack, "monitoring")
holding = c.ActivatorArgs(serving, image, scraper, stack.models)
activator = c.Activator("activator", holding, opts) if holding.servers else None
home = c.Surroundings(
    serving,
    image,
    "http://mlflow",
    registry,
    scraper,
    "http://prometheus",
    activator=activator,
    tracing=stack.tracing,
)
edge = SimpleNamespace(gateway="istio-ingress/slipway", ingress_namespace="istio-ingress")
for name, model in stack.models.items():
    servers = {}
    for version in model.versions:
        server = c.ModelServerArgs(
            name,
            version,
            home,
            model.resources,
            model.scaling,
            model.allow_pickle,
            model.floors.get(version),
        )
        servers[version] = c.ModelServer(f"{name}-v{version}", server, opts)
    comparer = None
    if model.shadow:
        pair = c.ShadowComparerArgs(name, home, servers, model)
        comparer = c.ShadowComparer(f"{name}-comparer", pair, opts)
    c.ModelRoute(name, c.ModelRouteArgs(name, serving, edge, servers, model, comparer), opts)
