"""The stack's configuration: typed, checked as a whole, and the only home of its defaults.

`parse` is a pure function from plain data to `Settings`. `load` reads the stack's configuration
from Pulumi and turns every fault into one line of a `pulumi.RunError`, before any resource is
registered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

import settings_faults as faults
from settings_exposure import Exposure
from settings_monitoring import Alerts, Grafana, Objectives, Operator, Prometheus
from settings_platform import ArtifactBucketSettings, Images, Istio, Mlflow
from settings_rollout import Rollout, Sticky
from settings_scaling import Keda, Scaling
from settings_tracing import Tracing
from settings_types import (
    Count,
    Cpu,
    Gpus,
    LabelKey,
    LabelValue,
    Memory,
    ModelName,
    OptionalText,
    Percentage,
    Registry,
    Section,
    Text,
    Version,
    VersionKey,
    Weight,
)

if TYPE_CHECKING:
    import pulumi

PROJECT = "slipway"
SECRET_KEYS = ("bucketAccessKey", "bucketSecretKey", "alertSecrets", "grafanaPassword")


class Canary(Section):
    """A version on trial: it gets `weight` percent of live traffic, and all that sends x-canary:
    true.
    """

    version: Version = Field(description="a version of the model in the registry")
    weight: Weight = Field(default=0, description="the canary's share of live traffic, in percent")


class Shadow(Section):
    """A version that answers a copy of `percent` of the requests. Its answers are compared with
    stable's and thrown away.
    """

    version: Version = Field(description="a version of the model in the registry")
    percent: Percentage = Field(default=100, description="of the requests that are mirrored")


class Resources(Section):
    """What one pod of a model server asks for. The memory limit equals the request, the CPU limit
    is four times it.
    """

    cpu: Cpu = "250m"
    memory: Memory = "512Mi"
    gpu: Gpus = 0
    disk: Memory = Field(default="4Gi", description="room for the version's artifacts")


class Model(Section):
    """A served model: the versions by their roles, how a canary is judged, the size of the
    servers, and whether pickles are served.
    """

    stable: Version = Field(description="the version that takes what the canary does not")
    canary: Canary | None = None
    previous: Version | None = Field(
        default=None, description="the version before the stable one, kept warm without requests"
    )
    shadow: Shadow | None = None
    sticky: Sticky | None = None
    floors: dict[VersionKey, Count] = Field(
        default_factory=dict,
        description="version -> replicas that it keeps, where its min is less; rollouts set them",
    )
    rollout: Rollout = Rollout()
    objectives: Objectives = Objectives()
    resources: Resources = Resources()
    scaling: Scaling = Scaling()
    allow_pickle: bool = Field(
        default=False,
        description="serve versions that are unpickled when they are loaded, which runs their code",
    )

    @model_validator(mode="after")
    def _two_versions(self) -> Model:
        if twice := faults.same_version(self.roles):
            raise twice
        return self

    @property
    def roles(self) -> dict[str, int]:
        """Configuration key of each role that is taken -> the version that plays it."""
        found = {
            "stable": self.stable,
            "canary.version": self.canary and self.canary.version,
            "previous": self.previous,
            "shadow.version": self.shadow and self.shadow.version,
        }
        return {key: version for key, version in found.items() if version}

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that have a model server, the stable one first."""
        return tuple(dict.fromkeys(self.roles.values()))


class Settings(Section):
    """Everything a stack may configure. Keys without a default are required."""

    context: Text = Field(description="the kubeconfig context of the cluster to deploy to")
    registry: Registry = Field(description="where the serving image is pushed to and pulled from")
    builder: OptionalText = Field(
        default=None, description="the buildx builder; absent: the current one"
    )
    storage_class: OptionalText = Field(
        default=None, description="of every volume; absent: the cluster's default"
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="of every object, such as its owner and cost center"
    )
    demo: bool = Field(default=False, description="train and register the demo model")
    models: dict[ModelName, Model] = Field(default_factory=dict)
    gateway: Exposure = Exposure()
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

    @field_validator("monitoring", mode="before")
    @classmethod
    def _left_out(cls, value: object) -> object:
        return "bundled" if value == "" else value

    @model_validator(mode="after")
    def _url_of_theirs(self) -> Settings:
        if self.monitoring == "operator" and not self.prometheus.url:
            raise PydanticCustomError(
                "slipway",
                "is not set; with monitoring: operator it takes the URL of the Prometheus there is",
                {"at": "prometheus.url", "value": None},
            )
        if self.monitoring == "operator" and self.alerts.receivers:
            raise PydanticCustomError(
                "slipway",
                "are of the stack's own Alertmanager; with monitoring: operator the cluster's own "
                "one routes alerts",
                {"at": "alerts.receivers", "value": list(self.alerts.receivers)},
            )
        return self

    @model_validator(mode="after")
    def _alerts_of_models(self) -> Settings:
        known = ", ".join(self.models) or "none"
        for number, route in enumerate(self.alerts.routes):
            for name in route.models:
                if name not in self.models:
                    raise PydanticCustomError(
                        "slipway",
                        f"is no model of this stack (there: {known})",
                        {"at": f"alerts.routes[{number}].models", "value": name},
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
        return of_stack({**config.get_config_env(), **config.CONFIG.get()})
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def of_stack(config: Mapping[str, Any]) -> Settings:
    """Settings from a stack's whole configuration, secrets and other namespaces left aside.

    Raises `SettingsError` with every fault at once.
    """
    mine = {
        key.partition(":")[2]: value
        for key, value in config.items()
        if key.startswith(f"{PROJECT}:")
    }
    return parse(
        {name: _decode(name, value) for name, value in mine.items() if name not in SECRET_KEYS}
    )


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
    field = Settings.model_fields.get(name)
    if not isinstance(stored, str) or field is None or field.annotation in (str, str | None):
        return stored
    try:
        return json.loads(stored)
    except ValueError:
        return stored
