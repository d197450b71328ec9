"""Bad configuration: one clear line, nothing changed, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.e2e.harness import Walk

Edit = Callable[[dict[str, Any]], None]
NAME_RULE = "slipway:models.Bad_Name"


def _unknown(models: dict[str, Any]) -> None:
    models["churn"]["cannary"] = models["churn"].pop("canary")


def _weight(value: object) -> Edit:
    def edit(models: dict[str, Any]) -> None:
        models["churn"]["canary"]["weight"] = value

    return edit


def _same(models: dict[str, Any]) -> None:
    models["churn"]["canary"]["version"] = models["churn"]["stable"]


def _unregistered(models: dict[str, Any]) -> None:
    models["churn"]["canary"]["version"] = 99


def _name(models: dict[str, Any]) -> None:
    models["Bad_Name"] = models.pop("churn")


def _type(models: dict[str, Any]) -> None:
    models["churn"]["stable"] = "one"


WEIGHT = "slipway:models.churn.canary.weight: {} is not a whole percentage from 0 to 100"


@pytest.mark.parametrize(
    ("edit", "line", "more"),
    [
        (_unknown, "slipway:models.churn.cannary: is not a known key", "did you mean canary?"),
        (_weight(110), WEIGHT.format(110), ""),
        (_weight(-1), WEIGHT.format(-1), ""),
        (_weight(12.5), WEIGHT.format(12.5), ""),
        (_same, "slipway:models.churn.canary.version: 1 is the stable version too", ""),
        (_unregistered, "slipway:models.churn.canary.version: 99 is not a registered", "1, 2"),
        (_name, NAME_RULE, "lower-case"),
        (_type, 'slipway:models.churn.stable: "one"', "whole"),
    ],
    ids=["unknown key", "110", "-1", "12.5", "same", "unregistered", "name", "type"],
)
@pytest.mark.parametrize("command", ["preview", "up"])
def test_bad_configuration(walk: Walk, command: str, edit: Edit, line: str, more: str) -> None:
    """One line with the key, the value and what is allowed; the stack stays as it was."""
    content = yaml.safe_load(walk.stack_file.read_text())
    edit(content["config"]["slipway:models"])
    changed = walk.home / "state/Pulumi.dev.yaml"
    changed.write_text(yaml.safe_dump(content))
    checkpoint = walk.home / "state/test/pulumi/.pulumi/stacks/slipway/dev.json"
    was = checkpoint.read_bytes()
    yes = ["--yes", "--skip-preview"] if command == "up" else []
    done = walk.pulumi(command, *yes, "--config-file", str(changed), check=False)
    assert done.code != 0, done.text
    assert "Traceback" not in done.text
    # Pulumi shows an error where it happens and, with what else failed, at the end.
    lines = {found.removeprefix("error: ") for found in done.lines("error: slipway:")}
    lines |= set(done.lines("slipway:"))
    assert len(lines) == 1, done.text
    assert lines.pop().startswith(line), done.text
    assert more in done.text
    if command == "preview":
        assert checkpoint.read_bytes() == was
    walk.pulumi("stack", "output")


def test_good_configuration_still_changes_nothing(walk: Walk) -> None:
    """None of the bad ones left a trace."""
    walk.pulumi("preview", "--expect-no-changes")
