"""A release asks the policies first: with Pulumi itself, and a pack of the tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from rollout.adapters import policies
from rollout.adapters.configuration import Roles
from rollout.adapters.stack import StackError, UpdateError
from rollout.commands import policies_let_it_be
from rollout.release import RefusedError
from tests.unit import pulumi_project

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import pulumi
config = pulumi.Config("slipway")
if config.get("broken"):
    raise pulumi.RunError("slipway:broken: is set")
class Server(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("slipway:index:ModelServer", name)
        self.register_outputs({})
churn = config.require_object("models")["churn"]
for version in (churn["stable"], churn.get("canary", {}).get("version")):
    if version:
        Server(f"churn-v{version}")
"""
PACK = """
import io, sys
from pulumi_policy import (
    EnforcementLevel, PolicyConfigSchema, PolicyPack, StackValidationPolicy
)
sys.stdout = io.TextIOWrapper(open(1, "wb", 0, closefd=False), write_through=True)
def check(args, report):
    level = args.get_config().get("refused", "none")
    for each in args.resources:
        if each.name.endswith("-v13"):
            raise RuntimeError("of the tests")
        if each.name.endswith(level):
            report("no such\\nversion here", each.urn)
PolicyPack("tests", [StackValidationPolicy(
    "no-bad-version", "of the tests", check, EnforcementLevel.MANDATORY,
    PolicyConfigSchema({"refused": {"type": "string"}}),
)])
"""
SETTINGS = {"slipway:models": {"churn": {"stable": 1}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with a stack `dev`, and beside it a pack that refuses version 3 of that stack."""
    home = tmp_path_factory.mktemp("released")
    pack = home / "pack"
    pack.mkdir()
    runtime = {"name": "python", "options": {"virtualenv": str(ROOT / "policies/.venv")}}
    (pack / "PulumiPolicy.yaml").write_text(yaml.safe_dump({"runtime": runtime}))
    (pack / "__main__.py").write_text(PACK)
    (pack / "dev.json").write_text('{"no-bad-version": {"refused": "-v3"}}')
    with pytest.MonkeyPatch.context() as patch:
        folder = pulumi_project.make(home, PROGRAM, patch)
        patch.setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
        stored = yaml.safe_load((folder / "Pulumi.dev.yaml").read_text())
        (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump(stored | {"config": SETTINGS}))
        yield SimpleNamespace(folder=folder, pack=pack)


def released(project: Any, version: int, packs: list[Path]) -> None:
    """What `slipway release churn <version>` asks of the policies."""
    file = project.folder / "Pulumi.dev.yaml"
    stack = SimpleNamespace(name="organization/slipway/dev", text=file.read_text)
    session: Any = SimpleNamespace(stack=stack, directory=project.folder)
    step = Roles(1, version, 5)
    beginning: Any = SimpleNamespace(planned=(step, Roles(1, version, 100)))
    was = file.read_text()
    try:
        policies_let_it_be(session, "churn", beginning, packs)
    finally:
        assert file.read_text() == was


def test_a_version_that_policies_refuse_is_not_released(project: Any) -> None:
    """In a line for each objection, by the stack's own configuration of the pack."""
    with pytest.raises(RefusedError) as refused:
        released(project, 3, [project.pack])
    first, second = str(refused.value).splitlines()
    assert first == "churn: policies refuse version 3:"
    assert second.startswith("  no-bad-version: ") and "no such version here" in second
    assert second.endswith(" (churn-v3)")
    released(project, 2, [project.pack])


def test_without_a_pack_nobody_is_asked(project: Any) -> None:
    nowhere: Any = SimpleNamespace(folder=project.folder, pack=None)
    released(nowhere, 3, [])


def test_a_policy_that_crashes_is_no_consent(project: Any) -> None:
    with pytest.raises(UpdateError, match="of the tests|no-bad-version"):
        released(project, 13, [project.pack])


def test_what_is_no_pack_is_named(project: Any) -> None:
    with pytest.raises(StackError, match=r"project: is no policy pack"):
        released(project, 2, [project.folder])


def test_a_preview_that_fails_for_another_reason_says_which(project: Any) -> None:
    text = yaml.safe_load((project.folder / "Pulumi.dev.yaml").read_text())
    text["config"]["slipway:broken"] = "yes"
    with pytest.raises(UpdateError, match="slipway:broken: is set"):
        policies.objections(project.folder, "dev", yaml.safe_dump(text), [project.pack])
