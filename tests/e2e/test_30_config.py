"""Bad configuration: one clear line, nothing changed, no traceback."""

from __future__ import annotations

import json
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
        (_name, NAME_RULE, "DNS label"),
        (_type, 'slipway:models.churn.stable: "one"', "whole"),
    ],
    ids=["unknown key", "110", "-1", "12.5", "same", "unregistered", "name", "type"],
)
def test_bad_configuration(walk: Walk, edit: Edit, line: str, more: str) -> None:
    """One line with the key, the value and what is allowed; the stack stays as it was."""
    assert_refused(walk, "preview", edit, line, more)


def test_bad_configuration_is_not_deployed(walk: Walk) -> None:
    """`pulumi up` without a preview refuses it as well, before it changes anything."""

    def edit(models: dict[str, Any]) -> None:
        _weight(110)(models)
        models["churn"]["scaling"]["max"] = 5  # what an update that begins would change

    assert_refused(walk, "up", edit, WEIGHT.format(110), "")


def assert_refused(walk: Walk, command: str, edit: Edit, line: str, more: str) -> None:
    """The command fails with one line that starts so, and holds `more`, and changes nothing."""
    content = yaml.safe_load(walk.stack_file.read_text())
    edit(content["config"]["slipway:models"])
    changed = walk.home / "state/Pulumi.dev.yaml"
    changed.write_text(yaml.safe_dump(content))
    was = resources(walk)
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
    assert resources(walk) == was


def resources(walk: Walk) -> Any:
    """When the state says each resource was last changed, and what the cluster runs."""
    checkpoint = walk.home / "state/test/pulumi/.pulumi/stacks/slipway/dev.json"
    state = json.loads(checkpoint.read_text())["checkpoint"]["latest"]["resources"]
    found = {
        resource["urn"]: (resource.get("id"), resource.get("modified"))
        for resource in state
        if resource["type"] != "pulumi:pulumi:Stack"  # changes with every try
    }
    kinds = "deployments,horizontalpodautoscalers,virtualservices,destinationrules"
    done = walk.kubectl("get", kinds, "-n", "models", "-o", "json")
    for item in json.loads(done.out)["items"]:
        item["spec"].pop("replicas", None)  # the autoscaler's
        found[f"{item['kind']} {item['metadata']['name']}"] = item["spec"]
    assert len(found) > 50
    return found


def test_good_configuration_still_changes_nothing(walk: Walk) -> None:
    """None of the bad ones left a trace."""
    walk.pulumi("preview", "--expect-no-changes")
