"""Slipway as one picture: each part takes what another puts out."""

from pathlib import Path
from typing import Any

import pulumi
from pulumi_docker_build import Provider as Builder
from pulumi_kubernetes import Provider as Cluster

import components as c
import preflight
from settings import load, secret, secrets
from settings.scaling import needs_keda

stack = load()
told, people = secrets("alertSecrets"), secrets("mlflowSignIn")
preflight.check(stack, c.DEMO_VERSIONS if stack.demo else {}, told.given, people.given, secret)
c.label_all(stack.labels)
how: dict[str, Any] = {"enable_server_side_apply": True, "enable_config_map_mutable": True}
# What it stands on: a cluster that exists, or one on AWS, with a bucket and a database of its own.
if stack.aws is None:
    ground, builds = None, c.ServingImageArgs(stack.registry or "", stack.builder)
    cluster = Cluster("cluster", context=stack.context, **how)
else:
    from components import aws

    called = pulumi.get_stack()
    account, *copy = (aws.Account(name, **its) for name, its in aws.accounts(stack.aws, called))
    ground = aws.Ground("ground", aws.GroundArgs(stack, called, *copy), c.by(account))
    builds, how["cluster_identifier"] = ground.image, ground.prefix
    first = Cluster("first", kubeconfig=ground.kubeconfig, **how)
    supplies = aws.Supplies("supplies", aws.SuppliesArgs(stack.aws, ground), c.by(account, first))
    cluster = Cluster("cluster", kubeconfig=supplies.kubeconfig, **how)
    entrance = aws.Entrance("entrance", aws.entrance(stack, ground), c.by(account))
    pulumi.export("entrance_address", entrance.address)
builder = Builder("builder")


def after(*parts: pulumi.Resource) -> pulumi.ResourceOptions:
    """Options of a part that waits for `parts`."""
    return pulumi.ResourceOptions(providers=[cluster, builder], depends_on=list(parts))


# Namespaces, each shut to what no policy lets in; the edge of the cluster; the serving image.
on = stack.istio.sidecars
serving, registry = (
    c.IsolatedNamespace(name, c.IsolatedNamespaceArgs(name, sidecars=on), after()).namespace
    for name in ("models", "mlflow")
)
monitoring = serving
if stack.monitoring == "bundled":
    apart = c.IsolatedNamespaceArgs("monitoring")
    monitoring = c.IsolatedNamespace("monitoring", apart, after()).namespace
scraper = c.scraper(stack, monitoring)
meshed = {"models": serving, "mlflow": registry}
edge = c.IstioMeshArgs(stack.istio, stack.gateway, scraper, serving, stack.tracing, meshed)
mesh = c.IstioMesh("mesh", edge, after())
sidecars = c.Sidecars(mesh, stack.istio.tag) if on else None
inside = [mesh] if on else []  # pods with a sidecar come after what gives it to them
image, cuda = c.serving_images(stack, builds, after)

# The bucket, the registry in front of it, and the versions in the registry.
if ground is None:
    keys = c.BucketKeys(secret("bucketAccessKey"), secret("bucketSecretKey"))
    store = c.bucket_of(stack, registry, keys, sidecars)
bucket = ground.bucket if ground else c.ArtifactBucket("artifacts", store, after(*inside))
place = registry, image, bucket, (serving,), stack.mlflow, stack.storage_class, scraper, sidecars
tracked = c.MlflowServerArgs(*place, ground.database if ground else None)
mlflow = c.tracking(stack, tracked, mesh, after)
script = Path("demo/train_churn.py").read_text() if stack.demo else ""
demo = c.TrainingJobArgs(registry, image, script, mlflow.tracking_uri, sidecars=on)
trained = [c.TrainingJob("demo", demo, after(*inside))] if stack.demo else []

# Who watches, and who is told; and who scales by what is seen, where a model asks for that.
keda = None
if needs_keda(model.scaling for model in stack.models.values()):
    keda = c.Keda("keda", c.KedaArgs(stack.keda, serving, scraper), after())
scraped = meshed | {"istio-ingress": mesh.ingress_namespace}
if gpus := c.gpu_support(stack, scraper):
    scraped["gpu"] = c.GpuSupport("gpu", gpus, after()).namespace
password = secret("grafanaPassword") if stack.grafana.enabled else None
watched = c.ObservabilityArgs(stack, monitoring, scraped, told.values, keda, password)
watch = c.Observability("observability", watched, after())

# For each model a server for each version, and a route that splits the requests among them.
holding = c.ActivatorArgs(serving, image, scraper, stack.models, sidecars)
activator = c.Activator("activator", holding, after(*inside)) if holding.servers else None
around = serving, image, mlflow.tracking_uri, registry, scraper, watch.inside_url, keda, activator
nodes, reads = c.gpu_pool(stack), ground.store if ground else None
home = c.Surroundings(*around, stack.tracing, sidecars, nodes, reads, cuda)
c.serve(stack.models, home, mesh, after, trained)

pulumi.export("gateway_url", mesh.url)
pulumi.export("mlflow_url", mlflow.url)
pulumi.export("prometheus_url", watch.url)
if watch.grafana_url is not None:
    pulumi.export("grafana_url", watch.grafana_url)
pulumi.export("serving_image", image)
served = {name: c.model_output(mesh.url, name, model) for name, model in stack.models.items()}
pulumi.export("models", served)
