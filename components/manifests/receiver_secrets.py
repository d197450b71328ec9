"""The secrets by which receivers are reached, `slipway:alertSecrets`: whose they are, and what is
wrong with them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

from pydantic import TypeAdapter, ValidationError

from settings.monitoring import Alerts
from settings.types import HttpUrl

_KEY = "slipway:alertSecrets"
_URL: TypeAdapter[str] = TypeAdapter(HttpUrl)


def names(alerts: Alerts) -> list[str]:
    """The receivers whose URL or key is a secret, in the order of the alphabet."""
    return sorted(name for name, receiver in alerts.receivers.items() if receiver.secret)


def faults(alerts: Alerts, given: Collection[str]) -> list[str]:
    """One line for each receiver without its secret, and for each secret without its receiver.

    `given` are the keys of `slipway:alertSecrets`.
    """
    needed = names(alerts)
    missing = [
        f"{_KEY}.{name}: is not set; receiver {name} of kind "
        f"{alerts.receivers[name].kind} needs it: {_set(name)}"
        for name in needed
        if name not in given
    ]
    return missing + [_superfluous(alerts, name) for name in sorted({*given} - {*needed})]


def value_faults(alerts: Alerts, values: Mapping[str, str]) -> list[str]:
    """One line for each secret that nobody can be reached by. It never shows the secret."""
    found = []
    for name in names(alerts):
        kind, value = alerts.receivers[name].kind, values.get(name, "").strip()
        if kind == "pagerduty":
            what = "an integration key of PagerDuty's Events API v2: 32 letters and digits"
            good = bool(re.fullmatch(r"[0-9A-Za-z]{32}", value))
        else:
            what = "a URL such as https://gate.example/churn"
            good = _is_url(value)
        if not good:
            found.append(f"{_KEY}.{name}: is not {what}; {_set(name)}")
    return found


def _superfluous(alerts: Alerts, name: str) -> str:
    key = f"{_KEY}.{name}"
    remedy = f"pulumi config rm --path '{key}'"
    if name in alerts.receivers:
        return (
            f"{key}: receiver {name} has its URL in slipway:alerts.receivers.{name}.url already; "
            f"keep one of the two: {remedy}"
        )
    needed = names(alerts)
    close = difflib.get_close_matches(name, needed, n=1)
    guess = f"; did you mean {close[0]}?" if close else ""
    return (
        f"{key}: belongs to no receiver{guess} (with a secret: {', '.join(needed) or 'none'}): "
        f"{remedy}"
    )


def _set(name: str) -> str:
    return f"pulumi config set --secret --path '{_KEY}.{name}' <value>"


def _is_url(value: str) -> bool:
    try:
        _URL.validate_python(value)
    except ValidationError:
        return False
    return True
