"""Who asks model servers beside the gateway, with mutual TLS: the comparer of a shadow's answers,
and the activator of a version that has no pod, whom KEDA wakes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.harness import BODY, ask, http_client, until
from tests.e2e.production import CHURN, Production
from tests.e2e.test_92_production import value

pytestmark = pytest.mark.long
MODEL = {
    "stable": 1,
    "shadow": {"version": 2, "percent": 100},
    "resources": {"cpu": "100m", "memory": "512Mi"},
    "scaling": {
        "min": 0,
        "max": 2,
        "cpu": 100,
        "memory": 100,
        "requests_per_second": 50,
        "idle": "30s",
        "cold_start": "90s",
    },
}


@pytest.fixture(scope="module", autouse=True)
def asleep(production: Production) -> Iterator[None]:
    """churn with a shadow, and without a pod where nobody asks; as before at the end."""
    before = production.stack_file.read_text()
    content = yaml.safe_load(before)
    content["config"]["slipway:models"]["churn"] = MODEL
    production.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))
    # `up`, not Pulumi alone, brings what the first model that asks for it needs. Its predictions
    # find the model awake: a version that is new stays so for its idle time.
    up = production.local("up", seconds=600)
    assert "stack: pulumi up: done" in up.text, up.text
    yield
    production.stack_file.write_text(before)
    production.deploy()


def test_a_shadows_answers_are_compared(production: Production) -> None:
    """Not those that came while the servers were starting: the comparer holds 32 at most."""
    before = value("sum(model_comparisons_total)")
    with production.load(per_second=5) as load:
        until("comparisons", lambda: value("sum(model_comparisons_total)") > before + 50, 150, 2)
    load.assert_no_failure()
    assert value("sum(model_comparison_errors_total)") == 0


def test_who_asks_a_sleeping_model_is_answered(production: Production) -> None:
    pods = ("pods", "models", "slipway.dev/model=churn,app.kubernetes.io/name=model-server")
    until("no server", lambda: not production.objects(*pods), 240, 2)
    with http_client(verify=False) as client:
        client.timeout = 100
        start = time.monotonic()
        answer = ask(client, CHURN, BODY)
    assert not answer.reason, answer.reason
    production.note(
        f"production: a model without a pod answered after {time.monotonic() - start:.1f} s"
    )
