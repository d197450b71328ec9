"""The files that MLflow's settings name: whether they hold what they should."""

from __future__ import annotations

import ssl
from pathlib import Path

from settings.mlflow import Mlflow


def faults(settings: Mlflow) -> list[str]:
    """One line for each file of authorities that cannot be read, or is no PEM of certificates."""
    oidc = settings.sign_in.oidc if settings.sign_in else None
    named = {
        "database.ca": settings.database.ca if settings.database else None,
        "sign_in.oidc.ca": oidc.ca if oidc else None,
    }
    found = []
    for key, path in named.items():
        if path and (what := _fault(Path(path))):
            found.append(f'slipway:mlflow.{key}: "{path}" {what}')
    return found


def _fault(path: Path) -> str:
    try:
        text = path.read_text()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        text = ""
    try:
        # Also where there is no certificate in it at all.
        ssl.create_default_context(cadata=text or "-")
    except (ssl.SSLError, ValueError):
        return "is no PEM of certificates: it takes those of the authorities, one after another"
    if "PRIVATE KEY" in text:
        return "holds a private key, which is not for the cluster; leave the certificates alone"
    return ""
