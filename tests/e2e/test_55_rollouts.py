"""Rollouts on the real cluster, under constant load: promotion through kills, rollback for each
fault, and nothing that the canary itself did not fail.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import yaml

from tests.e2e.harness import PROMETHEUS, Load, Walk, ask, http_client, until
from tests.e2e.rollouts import (
    BODY,
    CRASHES,
    ERRORS,
    GOOD,
    NARROW,
    OTHER,
    SHOP,
    SLOW,
    TRIPLES,
    Runner,
    alias,
    assert_only,
    await_stable,
    entries,
    holder,
    journal_says,
    outcome,
    register,
    roles,
    route,
    serve,
    set_champion,
    shop_load,
    slipway,
)
from tests.e2e.rollouts import (
    shop as configured,
)


@pytest.fixture(scope="module", autouse=True)
def shop(walk: Walk) -> Iterator[None]:
    """The model `shop`, served in its first version; gone at the end, journal and all."""
    register(walk)
    serve(walk)
    await_stable(walk)
    yield
    walk.pulumi("config", "rm", "--path", "slipway:models.shop", check=False)
    walk.deploy()


@pytest.fixture(autouse=True)
def as_before(walk: Walk, shop: None) -> Iterator[None]:
    """Each test begins with version 1 alone, whatever the one before has left."""
    found = entries(walk)
    if found and found[-1]["kind"] != "end":
        slipway(walk, "rollback", "shop", check=False)
    if roles(walk) != (GOOD, None, None, None):
        serve(walk)
    set_champion(walk, GOOD)
    yield


def failures_of_others(load: Load, canary: int) -> list[str]:
    """Requests that failed without the canary having answered them."""
    return [a.reason for a in load.answers if a.reason and a.version != str(canary)]


def note(walk: Walk, what: str, load: Load, canary: int) -> None:
    """Tell how many requests were sent, and how many failed, of the canary's and of others."""
    bad = [answer for answer in load.answers if answer.reason]
    others = failures_of_others(load, canary)
    walk.note(
        f"rollout, {what}: {len(load.answers)} requests, {len(bad)} failed, "
        f"{len(others)} of them without the canary's name on the answer"
    )


def test_bad_input_is_one_line_and_changes_nothing(walk: Walk) -> None:
    """Exit code 2, the reason, and the configuration as it was."""
    before, journal = walk.stack_file.read_bytes(), entries(walk)
    for arguments, told in (
        (("release", "nothing", "2"), "is no model of this stack"),
        (("release", "shop", "77"), "77"),
        (("release", "shop", "@nobody"), "nobody"),
        (("release", "shop", "1"), "is the stable version already"),
        (("release", "shop", str(NARROW)), "signature"),
        (("run", "shop"), "nothing to run"),
        (("rollback", "shop"), ""),
        (("report", "shop", "--id", "none"), "no rollout none"),
    ):
        done = slipway(walk, *arguments, check=False)
        assert done.code == 2, done.text
        assert told in done.text
        assert "Traceback" not in done.text
        said = done.text.removeprefix(done.out).splitlines()
        assert said and all(line.startswith("slipway: ") for line in said), done.text
    for wrong, told in (
        ({"rollout": {"gates": [{"name": "broken", "promql": "sum(", "max": 1}]}}, "gates.broken"),
        ({"rollout": {"steps": [50, 25]}}, "is not a list of rising whole percentages"),
        ({"prometheus": None}, "slipway:prometheus.url: is not set"),
    ):
        content = yaml.safe_load(before)
        if "prometheus" in wrong:
            del content["config"]["slipway:prometheus"]["url"]
        else:
            content["config"]["slipway:models"]["shop"] |= wrong
        walk.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))
        changed = walk.stack_file.read_bytes()
        done = slipway(walk, "release", "shop", str(OTHER), check=False)
        assert (done.code, told in done.text) == (2, True), done.text
        assert walk.stack_file.read_bytes() == changed
    walk.stack_file.write_bytes(before)
    assert entries(walk) == journal


def test_promotion_in_spite_of_kills(walk: Walk) -> None:
    """Killed at the beginning, during an update, between acts and in the window, `run` goes on;
    each step is taken once and nothing fails.
    """
    since = len(entries(walk))
    deadly = [
        lambda e: e["kind"] == "act" and e["state"] == "begun" and e["index"] == 0,
        lambda e: e["kind"] == "evidence",
        lambda e: e["kind"] == "decide" and e.get("step") == 1,
        lambda e: e["kind"] == "decide" and e["what"] == "promote",
        lambda e: e["kind"] == "act" and e["state"] == "done" and e["index"] == 0
        and promoting(walk),
    ]  # fmt: skip
    with shop_load() as load:
        runner = Runner(walk, "release", "shop", "@challenger", "--run")
        for number, mark in enumerate(deadly):
            seen = len(entries(walk)) if number else since
            try:
                until(
                    f"kill {number}",
                    lambda: journal_says(walk, mark, seen) or runner.process.poll() is not None,  # noqa: B023
                    120,
                    0.05,
                )
            except AssertionError as error:
                raise AssertionError(f"{error}:\n{runner.text}") from None
            assert runner.process.poll() is None, runner.text
            # Every other time the update that it began is killed with it.
            runner.kill_all() if number % 2 else runner.kill()
            runner = Runner(walk)
        until("the last to take it up", lambda: holder(walk) == runner.process.pid, 60, 0.05)
        second = slipway(walk, "run", "shop", check=False)
        assert second.code == 2, second.text
        assert "pid" in second.text
        until("the promotion", lambda: roles(walk)[0] == OTHER and roles(walk)[3] == GOOD, 200)
        assert alias(walk, "champion") in (GOOD, OTHER)
        code = runner.wait()
        assert code == 0, runner.text
        time.sleep(3)
    load.assert_no_failure()
    note(walk, "promotion with 5 kills", load, OTHER)
    assert_only(walk, OTHER)
    told = [e for e in entries(walk)[since:] if e["kind"] == "decide"]
    assert [(e["what"], e["step"]) for e in told] == [
        ("step", 0), ("step", 1), ("step", 2), ("promote", None), ("retire", None),
    ]  # fmt: skip
    assert outcome(walk) == "promoted"
    report = slipway(walk, "report", "shop").out.strip()
    text = (walk.project / report).read_text()
    assert "<svg" in text and "promoted" in text
    assert "promoted" in slipway(walk, "history", "shop").out
    # Back, for the tests after this one.
    walk.pulumi("config", "set", "--path", "slipway:models.shop.stable", str(GOOD))
    walk.deploy()


def promoting(walk: Walk) -> bool:
    """Whether the last decision is the promotion."""
    return [e["what"] for e in entries(walk) if e["kind"] == "decide"][-1] == "promote"


def rolled_back(walk: Walk, canary: int, what: str, reason: str, **load: float) -> None:
    """Release a faulty version under load, and see it rolled back for `reason`."""
    with shop_load(**load) as sent:
        runner = Runner(walk, "release", "shop", str(canary), "--run", "--no-forecast")
        code = runner.wait()
        time.sleep(1)
    assert code == 1, runner.text
    note(walk, what, sent, canary)
    assert outcome(walk) == "rolled back"
    decided = [e for e in entries(walk) if e["kind"] == "decide"][-1]
    assert decided["what"] == "roll back"
    assert re.search(reason, decided["why"]), decided["why"]
    assert_only(walk, GOOD)
    first = min((a.at for a in sent.answers if a.version == str(canary)), default=None)
    bad = [a.at for a in sent.answers if a.version == str(canary) and (a.reason or a.seconds > 0.9)]
    last = max((a.at for a in sent.answers if a.version == str(canary)), default=None)
    if first is not None and bad and last is not None:
        walk.note(f"rollout, {what}: first bad answer to the canary's last: {last - bad[0]:.1f} s")


def test_errors_are_rolled_back_while_the_cluster_is_unreachable(walk: Walk) -> None:
    """One request in ten fails; the API server is away when it is to be rolled back."""
    since = len(entries(walk))
    with shop_load() as sent:
        runner = Runner(walk, "release", "shop", str(ERRORS), "--run", "--no-forecast")
        until(
            "the decision",
            lambda: journal_says(walk, lambda e: e.get("what") == "roll back", since),
            200,
            0.05,
        )
        api = walk.process("kube-apiserver")
        assert api
        os.kill(api, signal.SIGSTOP)
        try:
            until(
                "a failed attempt",
                lambda: journal_says(walk, lambda e: e.get("state") == "failed", since),
                120,
            )
            assert outcome(walk) is None, "the journal says what is not so"
        finally:
            os.kill(api, signal.SIGCONT)
        code = runner.wait()
        time.sleep(1)
    assert code == 1, runner.text
    assert "FAILED" in runner.text
    note(walk, "10 % errors, API server away", sent, ERRORS)
    assert not failures_of_others(sent, ERRORS)
    assert outcome(walk) == "rolled back"
    assert_only(walk, GOOD)


@pytest.mark.long
def test_errors_are_rolled_back(walk: Walk) -> None:
    """One request in ten fails: from the first bad answer to weight 0 is told."""
    # The server counts each as an error and the gateway as a failure: either may be proven first.
    rolled_back(walk, ERRORS, "10 % errors", "(errors|failures): .* worse by proof")


@pytest.mark.long
def test_a_slow_version_is_rolled_back(walk: Walk) -> None:
    """Every answer takes a second more."""
    rolled_back(walk, SLOW, "slow by a second", "slow", per_second=20)


@pytest.mark.long
def test_a_crash_looping_version_is_rolled_back(walk: Walk) -> None:
    """Its servers come and go: the gateway's own answers are what shows it, and all are its own."""
    before = failures_at_the_gateway(GOOD)
    rolled_back(walk, CRASHES, "crash loop", "failures")
    time.sleep(6)  # a scrape
    assert failures_at_the_gateway(GOOD) == before


def failures_at_the_gateway(version: int) -> float:
    """Requests for a version of `shop` that ended with a status of 500 or more."""
    labels = f'model_name="shop",model_version="{version}",response_code_class="5xx"'
    query = f"sum(envoy_cluster_upstream_rq{{{labels}}})"
    answer = httpx.get(
        f"{PROMETHEUS}/api/v1/query", params={"query": query}, trust_env=False, timeout=10
    )
    result = answer.json()["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


@pytest.mark.long
def test_prometheus_away_then_a_change_by_hand(walk: Walk) -> None:
    """A minute without evidence is no verdict; a change by hand stops the rollout and stays."""
    serve(walk, patience="5m", interval="10s")
    since = len(entries(walk))
    scale = ["scale", "deployment", "-n", "monitoring", "prometheus"]
    with shop_load() as load:
        slipway(walk, "release", "shop", str(OTHER), "--no-forecast")
        walk.kubectl(*scale, "--replicas=0")
        try:
            runner = Runner(walk)
            time.sleep(60)
            assert runner.process.poll() is None, runner.text
            assert roles(walk) == (GOOD, OTHER, 25, None), "a step without evidence"
            shown = slipway(walk, "status", "shop").out
            assert "not enough evidence" in shown, shown
        finally:
            walk.kubectl(*scale, "--replicas=1")
        until("the next step", lambda: route(walk).get(str(OTHER)) == 50, 180)
        until("its end", lambda: journal_says(walk, lambda e: step_done(e), since), 60)
        refused = slipway(walk, "release", "shop", str(SLOW), check=False)
        assert refused.code == 2, refused.text
        walk.pulumi("config", "set", "--path", "slipway:models.shop.canary.weight", "30")
        code = runner.wait(60)
        walk.deploy()
        time.sleep(2)
    assert code == 3, runner.text
    assert roles(walk) == (GOOD, OTHER, 30, None)
    assert route(walk) == {str(GOOD): 70, str(OTHER): 30}
    load.assert_no_failure()
    note(walk, "Prometheus away, change by hand", load, OTHER)
    slipway(walk, "resume", "shop")
    shown = slipway(walk, "status", "shop").out
    assert "30" in shown, shown
    slipway(walk, "rollback", "shop")
    assert_only(walk, GOOD)


@pytest.mark.long
def test_traffic_that_stops_ends_with_patience(walk: Walk) -> None:
    """Nothing is proven, nothing has failed: it is rolled back, and says for want of what."""
    serve(walk, patience="40s", interval="10s", steps=[5, 100])
    runner = Runner(walk, "release", "shop", str(OTHER), "--run", "--no-forecast")
    until("the first step", lambda: route(walk).get(str(OTHER)) == 5, 120)
    with shop_load() as load:
        time.sleep(10)
    load.assert_no_failure()
    assert runner.wait() == 1, runner.text
    decided = [e for e in entries(walk) if e["kind"] == "decide"][-1]
    assert decided["what"] == "roll back"
    assert decided["why"].startswith("for want of evidence"), decided["why"]
    assert_only(walk, GOOD)


@pytest.mark.long
def test_blue_green_with_gates_of_ones_own(walk: Walk) -> None:
    """One step to 100; a query, a person and the predictions must agree; the old one stays warm.

    The canary has as many replicas as stable must have before it gets its first request.
    """
    gates = [
        {
            "name": "traffic",
            "promql": 'sum(model_predictions_total{model_name="$model"})',
            "min": 1,
        },
        {"name": "sign-off", "approval": True, "before": "promotion"},
    ]
    larger = {"scaling": {"min": 2, "max": 3}, "floors": {str(GOOD): 3}}
    serve(walk, larger, steps=[100], gates=gates, predictions={"percent": 50})
    with shop_load() as load:
        runner = Runner(walk, "release", "shop", str(OTHER), "--run", "--no-forecast")
        until("the canary is in service", lambda: roles(walk) == (GOOD, OTHER, 100, None), 200)
        (server,) = walk.objects("deployments", "models", f"slipway.dev/version={OTHER},{OF_SHOP}")
        assert server["status"]["readyReplicas"] == 3
        assert configured(walk)["floors"] == {str(GOOD): 3, str(OTHER): 3}
        until("the approval is waited for", lambda: "sign-off" in shown(walk), 200, 2)
        refused = slipway(walk, "approve", "shop", "nothing", check=False)
        assert (refused.code, "is no approval gate" in refused.text) == (2, True), refused.text
        slipway(walk, "approve", "shop", "sign-off")
        until("the promotion", lambda: roles(walk) == (OTHER, None, None, GOOD), 100)
        assert runner.wait() == 0, runner.text
    load.assert_no_failure()
    note(walk, "blue-green", load, OTHER)
    assert_only(walk, OTHER)


OF_SHOP = "slipway.dev/model=shop"


def shown(walk: Walk) -> str:
    """What `status` shows of `shop`."""
    return slipway(walk, "status", "shop").out


@pytest.mark.long
def test_a_version_that_predicts_otherwise_is_rolled_back(walk: Walk) -> None:
    """No error, not slow, but other answers than stable's to the same requests."""
    serve(walk, predictions={"percent": 50})
    with shop_load() as load:
        runner = Runner(walk, "release", "shop", str(TRIPLES), "--run", "--no-forecast")
        assert runner.wait() == 1, runner.text
    load.assert_no_failure()
    decided = [e for e in entries(walk) if e["kind"] == "decide"][-1]
    assert "predictions" in decided["why"], decided["why"]
    assert_only(walk, GOOD)


def step_done(entry: dict[str, object]) -> bool:
    """Whether an act of a decision is done."""
    return entry["kind"] == "act" and entry["state"] == "done"


@pytest.mark.long
def test_an_a_b_test_keeps_each_client_with_its_version(walk: Walk) -> None:
    """The weight is held; a header names the client; `rollback` ends it for all at once."""
    serve(walk, {"sticky": {"header": "x-user"}})
    slipway(walk, "release", "shop", str(OTHER), "--no-forecast")
    assert roles(walk) == (GOOD, OTHER, 25, None)
    with http_client() as client:
        seen = {
            user: {ask(client, SHOP, BODY, {"x-user": f"user-{user}"}).version for _ in range(4)}
            for user in range(150)
        }
        assert all(len(versions) == 1 for versions in seen.values()), seen
        share = Counter(version for versions in seen.values() for version in versions)
        assert set(share) == {str(GOOD), str(OTHER)}
        assert 0.10 < share[str(OTHER)] / share.total() < 0.42, share
        slipway(walk, "rollback", "shop")
        after = {ask(client, SHOP, BODY, {"x-user": f"user-{user}"}).version for user in seen}
    assert after == {str(GOOD)}
    assert_only(walk, GOOD)
