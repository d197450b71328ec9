"""How a rollout begins: everything that could stop it is asked first, and nothing changed before.

`release` makes a registered version the canary; `adopt` takes up a canary that somebody has
deployed by hand.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rollout import journal, plan
from rollout.adapters.configuration import Roles
from rollout.adapters.signature import differences
from rollout.journal import Rollout, SetRoles
from rollout.judge.rules import Rules
from rollout.simulation.forecast import forecast
from settings import Settings
from settings.model import Model
from settings.rollout import Gate

Signature = Mapping[str, Any] | None


class RefusedError(ValueError):
    """A rollout that cannot begin; the message has a line for each reason."""


class Registry(Protocol):
    """What must be known of a version."""

    def resolve(self, model: str, wanted: str) -> int: ...

    def ready(self, model: str, version: int, allow_pickle: bool) -> None: ...

    def signature(self, model: str, version: int) -> Signature: ...

    def alias(self, model: str, name: str) -> int | None: ...


class Prometheus(Protocol):
    """What must be known of the evidence to come."""

    def check_query(self, promql: str) -> str | None: ...

    def ready(self, model: str, version: int) -> str | None: ...

    def rates(self, model: str, version: int, objective: float) -> Any: ...


@dataclass(frozen=True)
class Beginning:
    """A rollout that may begin: its first entry, the roles it will write, and lines for
    the person who asked for it.
    """

    entry: dict[str, Any]
    planned: tuple[Roles, ...]
    lines: tuple[str, ...]


def model_of(settings: Settings, name: str) -> Model:
    """The model called `name`. Raises RefusedError, naming those there are."""
    if name not in settings.models:
        known = ", ".join(sorted(settings.models)) or "none"
        raise RefusedError(
            f"{name}: is no model of this stack (there: {known}); "
            f"pulumi config set --path 'slipway:models.{name}.stable' <version>"
        )
    return settings.models[name]


def begin(
    settings: Settings,
    name: str,
    wanted: str | None,
    roles: Roles,
    registry: Registry,
    prometheus: Prometheus,
    by: str,
    *,
    force: bool = False,
    forecasting: bool = True,
) -> Beginning:
    """What begins the rollout of version or alias `wanted`; None takes up the canary in `roles`.

    Args:
        roles: what the configuration says now.
        force: begin although the signatures are not compatible.
        forecasting: say beforehand whether the steps can detect what they guard against.

    Raises RefusedError: a version that cannot be released, or evidence that could not be had.
    """
    model = model_of(settings, name)
    canary = roles.canary if wanted is None else registry.resolve(name, wanted)
    if canary is None:
        raise RefusedError(f"{name}: has no canary; slipway release {name} <version or @alias>")
    _check_roles(name, canary, roles, adopting=wanted is None)
    registry.ready(name, canary, model.allow_pickle)
    lines = _compatible(name, roles.stable, canary, registry, force)
    _check_evidence(name, model, roles.stable, prometheus)
    if model.sticky:
        lines.append(
            "sticky: requests of one client stay together, so with few clients, or a client that "
            "sends bad requests, chance weighs more than the gate allows for"
        )
    if forecasting:
        lines += _forecast(name, model, roles.stable, prometheus)
    entry = journal.begin(
        id=secrets.token_hex(4),
        model=name,
        canary=canary,
        rules=model.rollout,
        before=roles,
        champion=registry.alias(name, plan.CHAMPION),
        by=by,
        notes=lines,
        adopted=wanted is None,
    )
    return Beginning(entry, _planned(entry), tuple(lines))


def _planned(entry: dict[str, Any]) -> tuple[Roles, ...]:
    """Every set of roles that a rollout which succeeds goes through."""
    found: list[Rollout] = []
    journal.extend(found, {**entry, "seq": 0, "at": 0})
    acts = [*plan.step_acts(found[0], 0), *plan.promote_acts(found[0])]
    return tuple(act.roles for act in acts if isinstance(act, SetRoles))


def _check_roles(name: str, canary: int, roles: Roles, adopting: bool) -> None:
    if canary == roles.stable:
        raise RefusedError(f"{name}: version {canary} is the stable version already")
    if roles.canary is not None and not adopting:
        raise RefusedError(
            f"{name}: version {roles.canary} is the canary at {roles.weight} %; take it up with "
            f"`slipway run {name}`, or remove it: "
            f"pulumi config rm --path 'slipway:models.{name}.canary'"
        )


def _compatible(name: str, stable: int, canary: int, registry: Registry, force: bool) -> list[str]:
    found = differences(
        registry.signature(name, stable),
        registry.signature(name, canary),
        (f"version {stable}", f"version {canary}"),
    )
    if found and not force:
        listed = "".join(f"\n  {line}" for line in found)
        raise RefusedError(
            f"{name}: the signature of version {canary} is not compatible with that of the stable "
            f"version {stable}; --force releases it all the same:{listed}"
        )
    return [f"signature: {line}" for line in found]


def _check_evidence(name: str, model: Model, stable: int, prometheus: Prometheus) -> None:
    key = f"slipway:models.{name}.rollout.gates"
    faults = [
        f"{key}.{gate.name}.promql: {fault}"
        for gate in model.rollout.gates
        if (fault := _query_fault(gate, prometheus))
    ]
    fault = prometheus.ready(name, stable)
    if fault:
        faults.append(f"{name}: there would be no evidence: {fault}")
    if model.rollout.predictions and model.shadow:
        faults.append(
            f"slipway:models.{name}.rollout.predictions: needs the mirror that the shadow "
            f"{model.shadow.version} has; remove slipway:models.{name}.shadow first"
        )
    if faults:
        raise RefusedError("\n".join(faults))


def _query_fault(gate: Gate, prometheus: Prometheus) -> str | None:
    return prometheus.check_query(gate.promql) if gate.promql else None


def _forecast(name: str, model: Model, stable: int, prometheus: Prometheus) -> list[str]:
    rules = Rules.of(model.rollout)
    rates = prometheus.rates(name, stable, rules.objective)
    if rates is None:
        return ["forecast: none, for the stable version had no requests in the last minutes"]
    return list(forecast(rules, rates.requests, rates.errors, rates.failures, rates.slow).lines)
