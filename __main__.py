"""Slipway as one picture: each part takes what another puts out."""

from pathlib import Path

import pulumi
from pulumi_docker_build import Provider as Builder
from pulumi_kubernetes import Provider as Cluster

import components as c
import preflight
from settings import load, secret, secrets
from settings_scaling import needs_keda

stack = load()
told = secrets("alertSecrets")
keys = c.BucketKeys(secret("bucketAccessKey"), secret("bucketSecretKey"))
preflight.check(stack, c.DEMO_VERSIONS if stack.demo else {}, told.given)

cluster = Cluster(
    "cluster", context=stack.context, enable_server_side_apply=True, enable_config_map_mutable=True
)
builder = Builder("builder")
disks = stack.storage_class
c.label_all(stack.labels)


def after(*parts: pulumi.Resource) -> pulumi.ResourceOptions:
    """Options of a part that waits for `parts`."""
    return pulumi.ResourceOptions(providers=[cluster, builder], depends_on=list(parts))


# Namespaces, each shut to what no policy lets in; the edge of the cluster; the one image.
serving, registry = (
    c.IsolatedNamespace(name, c.IsolatedNamespaceArgs(name), after()).namespace
    for name in ("models", "mlflow")
)
monitoring = serving
if stack.monitoring == "bundled":
    own = c.IsolatedNamespace("monitoring", c.IsolatedNamespaceArgs("monitoring"), after())
    monitoring = own.namespace
scraper = c.scraper(stack, monitoring)
edge = c.IstioMeshArgs(stack.istio, stack.gateway, scraper, serving, stack.tracing)
mesh = c.IstioMesh("mesh", edge, after())
image = c.ServingImage("serving", c.ServingImageArgs(stack.registry, stack.builder), after()).ref

# The bucket, the registry in front of it, and the versions in the registry.
store = c.ArtifactBucketArgs(registry, keys, stack.artifact_bucket, stack.images.versitygw, disks)
bucket = c.ArtifactBucket("artifacts", store, after())
tracking = c.MlflowServerArgs(registry, image, bucket, (serving,), stack.mlflow, disks, scraper)
mlflow = c.MlflowServer("mlflow", tracking, after())
trained = []
if stack.demo:
    script = Path("demo/train_churn.py").read_text()
    training = c.TrainingJobArgs(registry, image, script, mlflow.tracking_uri)
    trained = [c.TrainingJob("demo", training, after())]

# Who watches, and who is told; and who scales by what is seen, where a model asks for that.
keda = None
if needs_keda(model.scaling for model in stack.models.values()):
    keda = c.Keda("keda", c.KedaArgs(stack.keda, serving, scraper), after())
scraped = {"models": serving, "istio-ingress": mesh.ingress_namespace, "mlflow": registry}
password = secret("grafanaPassword") if stack.grafana.enabled else None
watched = c.ObservabilityArgs(stack, monitoring, scraped, told.values, keda, password)
watch = c.Observability("observability", watched, after())

# For each model a server for each version, and a route that splits the requests among them.
holding = c.ActivatorArgs(serving, image, scraper, stack.models)
activator = c.Activator("activator", holding, after()) if holding.servers else None
around = serving, image, mlflow.tracking_uri, registry, scraper
home = c.Surroundings(*around, watch.inside_url, keda, activator, stack.tracing)
for name, model in stack.models.items():
    servers: dict[int, c.ModelServer] = {}
    for version in model.versions:
        size = model.resources, model.scaling
        least = model.floors.get(version)
        server = c.ModelServerArgs(name, version, home, *size, model.allow_pickle, least)
        servers[version] = c.ModelServer(f"{name}-v{version}", server, after(*trained))
    pair = c.ShadowComparerArgs(name, home, servers, model)
    comparer = c.ShadowComparer(f"{name}-comparer", pair, after()) if model.shadow else None
    route = c.ModelRouteArgs(name, serving, mesh, servers, model, comparer)
    c.ModelRoute(name, route, after(mesh, *servers.values()))

pulumi.export("gateway_url", mesh.url)
pulumi.export("mlflow_url", mlflow.url)
pulumi.export("prometheus_url", watch.url)
if watch.grafana_url is not None:
    pulumi.export("grafana_url", watch.grafana_url)
pulumi.export("serving_image", image)
served = {name: c.model_output(mesh.url, name, model) for name, model in stack.models.items()}
pulumi.export("models", served)
