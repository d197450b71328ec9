"""What a stack runs beside its models: MLflow, Istio, the artifact bucket, and others' images."""

from __future__ import annotations

from settings_exposure import Exposure
from settings_types import Bucket, Directory, ImageName, Memory, Section, Text


class Mlflow(Exposure):
    """MLflow's tracking server; `size` is that of the volume with its database."""

    size: Memory = "2Gi"


class Istio(Section):
    """Where Istio's charts lie (`base`, `istio-control/istio-discovery`, `gateway`) and the
    images they run.
    """

    charts: Directory = ".slipway/charts/istio"
    hub: ImageName = "docker.io/istio"
    tag: Text = "1.31.1"


class Images(Section):
    """Images that are not built here."""

    alertmanager: ImageName = "docker.io/prom/alertmanager:v0.33.0"
    grafana: ImageName = "docker.io/grafana/grafana:12.1.0"
    kube_state_metrics: ImageName = "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.18.0"
    prometheus: ImageName = "docker.io/prom/prometheus:v3.13.0"
    versitygw: ImageName = "docker.io/versity/versitygw:v1.8.0"


class ArtifactBucketSettings(Section):
    """The bucket of the models' artifacts; `size` is that of its volume."""

    name: Bucket = "slipway-artifacts"
    size: Memory = "5Gi"
