"""Grafana's dashboards, built by code: pure functions that give plain data, the same each time.

Nothing here needs Pulumi: `PYTHONPATH=components python -m dashboards <directory>` writes them as
files.
"""

from .board import FOLDER, text
from .fleet import fleet_dashboard
from .model import model_dashboard
from .platform import platform_dashboard
from .queries import REASONS, Query, panels, queries

__all__ = [
    "FOLDER",
    "Query",
    "REASONS",
    "every",
    "fleet_dashboard",
    "model_dashboard",
    "panels",
    "platform_dashboard",
    "queries",
    "text",
]


def every() -> dict[str, str]:
    """Every dashboard as the text of a file, by the file's name: `model.json`, …"""
    return {
        "fleet.json": text(fleet_dashboard()),
        "model.json": text(model_dashboard()),
        "platform.json": text(platform_dashboard()),
    }
