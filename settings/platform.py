"""What a stack runs beside its models: Istio, the artifact bucket, and others' images."""

from __future__ import annotations

from pydantic import Field

from settings.types import Bucket, Count, Directory, ImageName, Memory, Section, Text


class Istio(Section):
    """Where Istio's charts lie (`base`, `istio-control/istio-discovery`, `gateway`, and
    `istio-cni` for sidecars) and the images they run; whether pods speak to each other through
    sidecars, with mutual TLS; and how many there are of the control plane and of the gateway.
    """

    charts: Directory = ".slipway/charts/istio"
    hub: ImageName = "docker.io/istio"
    tag: Text = "1.31.1"
    sidecars: bool = Field(
        default=False, description="mutual TLS among models, MLflow and the gateway, and no other"
    )
    replicas: Count = 1
    cni_bin_dir: Directory = Field(
        default="/opt/cni/bin",
        description="where nodes keep CNI plugins, to which Istio adds its own",
    )
    cni_conf_dir: Directory = "/etc/cni/net.d"


class Images(Section):
    """Images that are not built here."""

    alertmanager: ImageName = "docker.io/prom/alertmanager:v0.33.0"
    dcgm_exporter: ImageName = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-distroless"
    device_plugin: ImageName = "nvcr.io/nvidia/k8s-device-plugin:v0.19.0"
    grafana: ImageName = "docker.io/grafana/grafana:12.1.0"
    kube_state_metrics: ImageName = "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.18.0"
    mig_parted: ImageName = "nvcr.io/nvidia/cloud-native/k8s-mig-manager:v0.14.0"
    oauth2_proxy: ImageName = "quay.io/oauth2-proxy/oauth2-proxy:v7.15.2"
    postgresql: ImageName = "docker.io/library/postgres:15-bookworm"
    prometheus: ImageName = "docker.io/prom/prometheus:v3.13.0"
    versitygw: ImageName = "docker.io/versity/versitygw:v1.8.0"


class ArtifactBucketSettings(Section):
    """The bucket of the models' artifacts; `size` is that of its volume."""

    name: Bucket = "slipway-artifacts"
    size: Memory = "5Gi"
