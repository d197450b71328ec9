"""All rules in the shape of a rule file of Prometheus, which is that of a PrometheusRule's spec.

They depend on the names of the models, their objectives, whether they are sticky or may scale to
zero, and on `alerts`; on no version and no weight, so that a change of weight changes the route
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from settings.model import Model
from settings.monitoring import Alerts

from . import alert_rules, recording_rules
from .common import Manifest


def groups(
    models: Mapping[str, Model], alerts: Alerts, jobs: Sequence[str] = alert_rules.JOBS
) -> Manifest:
    """`{"groups": [...]}`: equal input gives equal bytes, in whatever order the models come.

    `jobs` are the scrape jobs that must be there; another Prometheus calls them otherwise.
    """
    return {"groups": [*recording_rules.groups(models), *alert_rules.groups(models, alerts, jobs)]}


def alert_names() -> list[str]:
    """The names of the alerts that are built in, in the order of the alphabet."""
    return sorted(alert_rules.RUNBOOKS)
