"""A served model in the configuration: its versions by their roles, and how each is served."""

from __future__ import annotations

from pydantic import Field, model_validator

from settings import faults
from settings.monitoring import Objectives
from settings.rollout import Rollout, Sticky
from settings.scaling import Scaling
from settings.types import (
    Count,
    Cpu,
    Experiments,
    Gpus,
    Memory,
    Percentage,
    Section,
    Version,
    VersionKey,
    Weight,
)


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
    experiments: Experiments = Field(
        default=None,
        description="ids of the experiments that its versions come from: on AWS its servers may "
        "read these artifacts alone; absent: all artifacts of MLflow",
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
