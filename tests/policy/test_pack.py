"""The pack as a whole: it passes on the project as it stands, and its configurations fit it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import check
from engine.rule import Rule
from rules import ALL
from tests import rendered
from tests.conftest import DIGEST, ROOT
from tests.e2e.production_parts import Authority
from tests.policy import stacks

# What stands in dev without a remedy yet; all of it advisory there.
KNOWN_ON_DEV = {"cost-labels", "public-tls"}


def test_the_pack_passes_on_dev(dev: stacks.Stack) -> None:
    verdict = stacks.judge(dev, stacks.configuration("dev"))
    levels = json.loads((ROOT / "policies/dev.json").read_text())
    found = {rule for rule, _, _ in verdict.violations}
    assert found == KNOWN_ON_DEV, sorted(verdict.violations)
    for name in found:
        assert levels[name]["enforcementLevel"] == "advisory"
    assert not verdict.undecided


def test_a_stack_in_production_lacks_tls_alone(prod: stacks.Stack) -> None:
    verdict = stacks.judge(prod, stacks.configuration("prod"))
    assert {rule for rule, _, _ in verdict.violations} == {"public-tls"}, sorted(verdict.violations)
    assert not verdict.undecided


def test_in_production_who_may_sleep_is_listed(asleep: stacks.Stack) -> None:
    knobs = stacks.configuration("prod")
    said = {each for each in stacks.judge(asleep, knobs).violations if each[0] != "public-tls"}
    line = "models/night-v1: has 0 replicas at least (needed: 2)"
    remedy = "; if it is to sleep, list it in the knob may_sleep"
    assert said == {("replicas", "night-v1-deployment", line + remedy)}
    knobs["replicas"]["may_sleep"] = ["models/night-*"]
    verdict = stacks.judge(asleep, knobs)
    assert {rule for rule, _, _ in verdict.violations} == {"public-tls"}, sorted(verdict.violations)
    assert not verdict.undecided


def test_all_that_there_is_keeps_the_rules(everything: stacks.Stack) -> None:
    verdict = stacks.judge(everything, TEST_KNOBS)
    assert {rule for rule, _, _ in verdict.violations} == KNOWN_ON_DEV, sorted(verdict.violations)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_a_rule_says_what_it_is_about(rule: Rule) -> None:
    assert (rule.check is None) != (rule.stack_check is None)
    for text in (rule.title, rule.description, rule.remediation):
        assert text
    assert rule.description.endswith(".") and rule.remediation.endswith(".")
    assert rule.references
    assert all(each.startswith("https://") for each in rule.references)
    for schema in rule.knobs.values():
        assert schema["description"] and "default" in schema and schema["type"]


def test_names_are_unique() -> None:
    assert len({rule.name for rule in ALL}) == len(ALL)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_a_configuration_names_what_there_is(environment: str) -> None:
    told: dict[str, Any] = json.loads((ROOT / f"policies/{environment}.json").read_text())
    for name, knobs in told.items():
        assert name in stacks.RULES
        assert set(knobs) - {"enforcementLevel"} <= set(stacks.RULES[name].knobs), name


LEVELS = "(advisory, mandatory, disabled)"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"image-digst": {"by_tag": []}}, ["there is no policy image-digst"]),
        (
            {"image-digest": {"by_tagg": []}},
            ["image-digest: there is no knob by_tagg (there: by_tag)"],
        ),
        ({"seccomp-profile": {"on": 1}}, ["seccomp-profile: there is no knob on (there: none)"]),
        (
            {"all": {"by_tag": []}},
            ["all: there is no knob by_tag (there: none)", f"all: null is no level {LEVELS}"],
        ),
        ({"replicas": "strict"}, [f'replicas: "strict" is no level {LEVELS}']),
        ([], ["is no object of rules"]),
        ({"all": "advisory", "replicas": {"single": []}}, []),
    ],
)
def test_a_configuration_is_checked_without_pulumi(
    told: object, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "told.json"
    file.write_text(json.dumps(told))
    assert check.main([str(ROOT / "policies/dev.json"), str(file)]) == bool(said)
    assert capsys.readouterr().err.splitlines() == [f"{file}: {line}" for line in said]


def test_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "told.json"
    assert check.main([str(file)]) == 1
    file.write_text("{")
    assert check.main([str(file)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"{file}: cannot be read: ") for line in lines] == [True, True]


def test_an_unknown_knob_fails_by_name() -> None:
    with pytest.raises(ValueError, match="image-digest: there is no knob by_tagg"):
        stacks.RULES["image-digest"].judge([], {"by_tagg": []})


def test_a_rule_is_a_file() -> None:
    files = {path.stem for path in (ROOT / "policies/rules").glob("*.py")} - {"__init__"}
    single = [name for name in files if not name.startswith("aws_")]
    grouped = [rule for rule in ALL if rule.name.split("-")[0] in _SERVICES]
    assert len(single) + len(grouped) == len(ALL)


_SERVICES = {"s3", "iam", "ec2", "eks", "rds", "data"}


def test_the_page_lists_every_rule_and_knob() -> None:
    page = (ROOT / "docs/policies.md").read_text()
    assert f"holds {len(ALL)} rules" in page
    for rule in ALL:
        row = f"| `{rule.name}` | {rule.severity} | {rule.level} | {rule.description} |"
        assert row in page, rule.name
        for knob, schema in rule.knobs.items():
            default = json.dumps(schema["default"])
            assert f"| `{rule.name}` | `{knob}` | `{default}` | {schema['description']} |" in page


def test_the_main_file_holds_the_pack_alone() -> None:
    tree = ast.parse((ROOT / "policies/__main__.py").read_text())
    code = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(code) == 2 and "PolicyPack(" in ast.unparse(code[1])


def test_no_rule_knows_pulumi() -> None:
    for path in [*(ROOT / "policies/rules").glob("*.py"), *(ROOT / "policies/engine").glob("*.py")]:
        if path.name != "edge.py":
            assert "import pulumi" not in path.read_text(), path


TEST_KNOBS = stacks.configuration("dev") | {
    "image-registry": {"allowed": ["registry.test:5000", "docker.io", "registry.k8s.io"]},
    "replicas": stacks.configuration("dev")["replicas"] | {"may_sleep": ["models/night-*"]},
}


def test_mlflow_in_production_breaks_no_rule(prod: stacks.Stack, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(Authority("of the tests").pem)
    images = rendered.PROD["images"]
    registry = images["prometheus"].partition("/")[0]
    more = {name: f"{registry}/{name}@{DIGEST}" for name in ("oauth2_proxy", "postgresql")}
    mlflow = {
        "url": "https://mlflow.example.com",
        "replicas": 2,
        "database": {"host": "db.example.com", "ca": str(file)},
        "backups": {},
        "sign_in": {"host": "mlflow.example.com", "basic": True},
    }
    secrets = {
        "mlflowDatabasePassword": "of the tests",
        "mlflowSignIn": {"cookie_secret": "0" * 32, "htpasswd": f"ada:$2b$10${'a' * 53}"},
    }
    with_it = rendered.PROD | {"images": images | more, "mlflow": mlflow} | secrets
    knobs = stacks.configuration("prod")
    found = stacks.judge(stacks.of_program(rendered.render(**with_it)), knobs)
    assert found == stacks.judge(prod, knobs)
