"""The policy pack as Pulumi runs it, on another project: real previews, updates and exit codes.

It renders files, so it needs no cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.instance import cache_dir
from tests import rendered
from tests.conftest import ROOT
from tests.policy import stacks

PACK = ROOT / "policies"
Pulumi = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pulumi(tmp_path_factory: pytest.TempPathFactory) -> Pulumi:
    """Run pulumi on the other project, in a state of its own."""
    home = tmp_path_factory.mktemp("elsewhere")
    (home / "state").mkdir()
    # Where this is not set, a pack may keep Pulumi waiting for its port without end.
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    env = outer | {
        "PATH": f"{ROOT / '.slipway/bin'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "PULUMI_HOME": str(cache_dir() / "pulumi"),
        "PULUMI_BACKEND_URL": f"file://{home / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "of-the-tests",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "RENDER_TO": str(home / "rendered"),
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=ROOT / "tests/policy/elsewhere",
            env=env | more,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    made = run("stack", "init", "test")
    assert made.returncode == 0, made.stderr
    return run


def test_a_good_project_passes(pulumi: Pulumi) -> None:
    done = pulumi("preview", "--policy-pack", str(PACK))
    assert done.returncode == 0, done.stdout
    assert "[mandatory]" not in done.stdout


def test_a_bad_one_fails_and_says_why(pulumi: Pulumi) -> None:
    done = pulumi("preview", "--policy-pack", str(PACK), ALSO="bad")
    assert done.returncode != 0
    objected = {
        line.split("]")[2].split()[0] for line in done.stdout.splitlines() if "[mand" in line
    }
    assert objected == {"image-digest", "read-only-root-filesystem"}
    assert "image registry.k8s.io/pause:3.10 has no digest" in done.stdout


def test_the_unknown_is_not_yet_decidable(pulumi: Pulumi) -> None:
    done = pulumi("preview", "--policy-pack", str(PACK), ALSO="unknown")
    assert done.returncode == 0, done.stdout
    told = [line for line in done.stdout.splitlines() if "not yet decidable, so not passed" in line]
    assert len(told) == 2
    assert all("spec.containers[0].image is known only after the update" in line for line in told)


def test_an_update_decides_it_and_an_export_is_analyzed(pulumi: Pulumi, tmp_path: Path) -> None:
    done = pulumi("up", "--yes", "--skip-preview", "--policy-pack", str(PACK), ALSO="unknown")
    assert done.returncode == 0, done.stdout
    assert "not yet decidable" not in done.stdout
    export = tmp_path / "stack.json"
    export.write_text(pulumi("stack", "export").stdout)
    # No login, no backend: the file alone.
    analyze = ("policy", "analyze", "--policy-pack", str(PACK), "--file")
    done = pulumi(*analyze, str(export), PULUMI_BACKEND_URL="")
    assert done.returncode == 0, done.stdout
    export.write_text(export.read_text().replace('"runAsNonRoot": true', '"runAsNonRoot": false'))
    done = pulumi(*analyze, str(export), PULUMI_BACKEND_URL="")
    assert done.returncode != 0
    assert "run-as-non-root" in done.stdout


def test_the_project_itself_passes_as_pulumi_sees_it(pulumi: Pulumi, tmp_path: Path) -> None:
    export = tmp_path / "dev.json"
    export.write_text(
        json.dumps(stacks.export(stacks.of_program(rendered.render(**rendered.dev()))))
    )
    pack = ("--policy-pack", str(PACK), "--policy-pack-config", str(PACK / "dev.json"))
    done = pulumi("policy", "analyze", "--file", str(export), *pack, PULUMI_BACKEND_URL="")
    assert done.returncode == 0, done.stdout
    assert "[mandatory]" not in done.stdout
    # It looked: what dev does without is told.
    assert "public-tls" in done.stdout


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"image-digits": "advisory"}, "there is no policy image-digits"),
        ({"image-digest": {"by_tagg": []}}, "image-digest: there is no knob by_tagg"),
        ({"image-digest": {"by_tag": "all"}}, "by_tag"),
        ({"model-server-probes": {"model_server": "app"}}, "model_server"),
        ({"model-server-egress": {"beside": ["app"]}}, "beside"),
        ({"all": {"enforcementLevel": "advisory", "by_tag": []}}, "all: there is no knob by_tag"),
    ],
)
def test_an_unknown_name_in_a_configuration_fails_the_run(
    pulumi: Pulumi, tmp_path: Path, told: object, says: str
) -> None:
    file = tmp_path / "told.json"
    file.write_text(json.dumps(told))
    done = pulumi("preview", "--policy-pack", str(PACK), "--policy-pack-config", str(file))
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


def test_a_policy_that_crashes_fails_the_run(pulumi: Pulumi, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    for name in ("engine", "rules", ".venv", "PulumiPolicy.yaml"):
        (pack / name).symlink_to(PACK / name)
    (pack / "__main__.py").write_text(
        "from dataclasses import replace\n"
        "from engine.edge import policies\n"
        "from pulumi_policy import PolicyPack\n"
        "from rules import ALL\n"
        "def crash(resource, given):\n"
        "    raise IndexError('a fault of the rule')\n"
        "PolicyPack('crashing', policies([replace(ALL[0], check=crash)]))\n"
    )
    done = pulumi("preview", "--policy-pack", str(pack))
    assert done.returncode != 0
    assert "a fault of the rule" in done.stdout
