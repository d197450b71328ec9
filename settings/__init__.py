"""The stack's configuration: typed, checked as a whole, and the only home of its defaults.

`parse` is a pure function from plain data to `Settings`. `load` reads the stack's configuration
from Pulumi and turns every fault into one line of a `pulumi.RunError`, before any resource is
registered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_type_hints

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings import faults
from settings.aws import Aws
from settings.aws import gpu as aws_gpu
from settings.aws.derived import derived, gateway_fault
from settings.exposure import Gateway
from settings.faults import fault
from settings.gpu import Gpu
from settings.mlflow import Mlflow, fault_of
from settings.model import Model
from settings.monitoring import Alerts, Grafana, Operator, Prometheus
from settings.placeholder import filled
from settings.platform import ArtifactBucketSettings, Images, Istio
from settings.scaling import Keda
from settings.tracing import Tracing
from settings.types import LabelKey, LabelValue, ModelName, OptionalText, Registry, Section, Text

if TYPE_CHECKING:
    import pulumi

PROJECT = "slipway"
SECRET_KEYS = (
    "bucketAccessKey",
    "bucketSecretKey",
    "alertSecrets",
    "grafanaPassword",
    "mlflowDatabasePassword",
    "mlflowSignIn",
)


class Settings(Section):
    """Everything a stack may configure. `context` and `registry` are required, unless `aws` is
    there, which makes both.
    """

    aws: Aws | None = Field(default=None, description="a cluster of the stack's own, on AWS")
    context: Text | None = Field(
        default=None,
        validate_default=True,
        description="the kubeconfig context of the cluster to deploy to",
    )
    registry: Registry | None = Field(
        default=None,
        validate_default=True,
        description="where the serving image is pushed to and pulled from",
    )
    builder: OptionalText = Field(
        default=None, description="the buildx builder; absent: the current one"
    )
    storage_class: OptionalText = Field(
        default=None, description="of every volume; absent: the cluster's default"
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="of every object, such as its owner and cost center"
    )
    gpu: Gpu | None = Field(
        default=None, description="the nodes with GPUs of a cluster that exists"
    )
    without_cuda: bool = Field(
        default=False,
        description="serve models with GPUs from the usual image, not from one for CUDA",
    )
    demo: bool = Field(default=False, description="train and register the demo model")
    models: dict[ModelName, Model] = Field(default_factory=dict)
    gateway: Gateway = Gateway()
    mlflow: Mlflow = Mlflow()
    monitoring: Literal["bundled", "operator"] = Field(
        default="bundled",
        description="a Prometheus of the stack's own, or objects for the operator of one there is",
    )
    prometheus: Prometheus = Prometheus()
    operator: Operator = Operator()
    alerts: Alerts = Alerts()
    grafana: Grafana = Grafana()
    tracing: Tracing = Tracing()
    istio: Istio = Istio()
    keda: Keda = Keda()
    images: Images = Images()
    artifact_bucket: ArtifactBucketSettings = ArtifactBucketSettings()

    @field_validator("aws", "gpu", mode="before")
    @classmethod
    def _elsewhere(cls, value: object) -> object:
        return None if value == {} else value

    @field_validator("context", "registry", mode="before")
    @classmethod
    def _there_or_made(cls, value: object, info: ValidationInfo) -> object:
        if "aws" not in info.data:  # it has faults of its own
            return value or None
        described = cls.model_fields[str(info.field_name)].description
        if info.data["aws"] is None and not value:
            raise PydanticCustomError("slipway", f"is not set; it takes {described}")
        if info.data["aws"] is not None and value:
            raise PydanticCustomError(
                "slipway", "is of a cluster that exists, and aws makes one; keep one of the two"
            )
        return value or None

    @field_validator("monitoring", mode="before")
    @classmethod
    def _left_out(cls, value: object) -> object:
        return "bundled" if value == "" else value

    @model_validator(mode="after")
    def _url_of_theirs(self) -> Settings:
        if self.monitoring == "operator" and not self.prometheus.url:
            raise fault(
                "prometheus.url",
                None,
                "is not set; with monitoring: operator it takes the URL of the Prometheus there is",
            )
        if self.monitoring == "operator" and self.alerts.receivers:
            raise fault(
                "alerts.receivers",
                list(self.alerts.receivers),
                "are of the stack's own Alertmanager; with monitoring: operator the cluster's own "
                "one routes alerts",
            )
        return self

    @model_validator(mode="after")
    def _gpus(self) -> Settings:
        if self.aws and self.gpu:
            raise fault(
                "gpu",
                self.gpu.model_dump(exclude_defaults=True),
                "is of a cluster that exists, and aws makes one; its nodes with GPUs are aws.gpu",
            )
        if self.aws:
            zones = self.aws.network.in_zones(self.aws.region)
            for found in aws_gpu.faults(self.models, self.aws.gpu, self.aws.karpenter, zones):
                raise found
        for name, model in self.models.items():
            if self.gpu and self.gpu.sharing and model.resources.gpu > 1:
                raise fault(
                    f"models.{name}.resources.gpu",
                    model.resources.gpu,
                    "is more than 1, and with gpu.sharing a pod gets one share",
                )
        return self

    @model_validator(mode="after")
    def _behind_a_balancer(self) -> Settings:
        if self.aws and (found := gateway_fault(self.gateway, self.aws.network.cidr)):
            raise found
        return self

    @model_validator(mode="after")
    def _mlflow_of_this_stack(self) -> Settings:
        aws = self.aws is not None
        if found := fault_of(self.mlflow, aws=aws, models_url=self.gateway.url):
            raise found
        return self

    @model_validator(mode="after")
    def _alerts_of_models(self) -> Settings:
        known = ", ".join(self.models) or "none"
        for number, route in enumerate(self.alerts.routes):
            for name in route.models:
                if name not in self.models:
                    raise fault(
                        f"alerts.routes[{number}].models",
                        name,
                        f"is no model of this stack (there: {known})",
                    )
        return self


class SettingsError(ValueError):
    """The configuration has faults: `faults` holds one line for each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.faults = lines


def parse(raw: Mapping[str, Any]) -> Settings:
    """Settings from plain data: the keys of namespace `slipway`, without that prefix.

    Raises `SettingsError` with every fault at once.
    """
    try:
        return Settings.model_validate(dict(raw))
    except ValidationError as error:
        raise SettingsError(faults.lines(error, raw, Settings, PROJECT)) from None


def load() -> Settings:
    """Settings of the current stack. Raises `pulumi.RunError` with one line for each fault."""
    import pulumi
    from pulumi.runtime import config

    # pulumi.Config reads keys one by one; only the whole map shows a key that nobody knows.
    try:
        return of_stack({**config.get_config_env(), **config.CONFIG.get()}, pulumi.get_stack())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def of_stack(config: Mapping[str, Any], stack: str) -> Settings:
    """Settings from the whole configuration of the stack called `stack`, secrets and other
    namespaces left aside. Where the configuration may name the stack as `{stack}`, it does.

    Raises `SettingsError` with every fault at once.
    """
    mine = {
        key.partition(":")[2]: value
        for key, value in config.items()
        if key.startswith(f"{PROJECT}:")
    }
    raw = {name: _decode(name, value) for name, value in mine.items() if name not in SECRET_KEYS}
    return parse(derived(filled(raw, stack)))


def secret(key: str) -> pulumi.Output[str]:
    """The secret at `slipway:<key>`. Raises `pulumi.RunError` if it is unset, or stored in the
    clear.
    """
    import pulumi
    from pulumi.runtime.config import is_config_secret

    remedy = f"pulumi config set --secret {PROJECT}:{key} <value>"
    if not pulumi.Config(PROJECT).get(key):
        raise pulumi.RunError(f"{PROJECT}:{key}: is not set; set it: {remedy}")
    if not is_config_secret(f"{PROJECT}:{key}"):
        raise pulumi.RunError(
            f"{PROJECT}:{key}: stands in the clear in the stack file; encrypt it: {remedy}"
        )
    return pulumi.Config(PROJECT).require_secret(key)


class Secrets(NamedTuple):
    """An object of secrets: `given` for checks alone, which show none of it, and `values` for
    resources; None if it is not set.
    """

    given: Mapping[str, str]
    values: pulumi.Output[Any] | None


def secrets(key: str) -> Secrets:
    """The object of secrets at `slipway:<key>`.

    Raises `pulumi.RunError` if it is no object, or has nothing encrypted.
    """
    import pulumi
    from pulumi.runtime.config import is_config_secret

    config = pulumi.Config(PROJECT)
    if not config.get(key) or config.get(key) == "{}":
        return Secrets({}, None)
    remedy = f"pulumi config set --secret --path '{PROJECT}:{key}.<name>' <value>"
    try:
        found = config.get_object(key)
    except pulumi.ConfigTypeError:
        # Its message holds the value.
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise pulumi.RunError(f"{PROJECT}:{key}: is not an object of texts; set each: {remedy}")
    if not is_config_secret(f"{PROJECT}:{key}"):
        raise pulumi.RunError(
            f"{PROJECT}:{key}: stands in the clear in the stack file; encrypt it: {remedy}"
        )
    return Secrets(found, config.require_secret_object(key))


def _decode(name: str, stored: Any) -> Any:
    """What a person wrote: Pulumi hands over text as it is, and all else as JSON."""
    if not isinstance(stored, str) or get_type_hints(Settings).get(name) in (None, str, str | None):
        return stored
    try:
        return json.loads(stored)
    except ValueError:
        return stored
