"""Roles, pods and risks of previews that are made by hand: what the recordings do not have."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import common
from review import risk, roles
from review.meaning import of_models
from review.platform import of_platform
from review.pods import workloads
from review.preview import Preview, PreviewError, State, Step, parse
from review.report import review
from review.values import ABSENT, at, differences, memory, quantity, same, show
from review.words import plain

URN = "urn:pulumi:dev::slipway::"


def route(model: str, *shares: tuple[int, int], name: str = "by-weight", copy: int = 0) -> State:
    """The VirtualService of a model: version and weight of each destination, stable first."""
    entry: dict[str, Any] = {
        "name": name,
        "route": [
            {"destination": {"host": f"{model}-v{version}.models.svc"}, "weight": weight}
            for version, weight in shares
        ],
    }
    if copy:
        entry["mirrorPercentage"] = {"value": copy}
    labels = {roles.MODEL_LABEL: model}
    return State({"metadata": {"labels": labels}, "spec": {"http": [{"name": "first"}, entry]}})


def server(version: int, op: str, least: int = 2) -> list[Step]:
    """A model server of churn: its component, Deployment and autoscaler."""
    labels = {roles.MODEL_LABEL: "churn", roles.VERSION_LABEL: str(version)}
    meta = {"name": f"churn-v{version}", "namespace": "models", "labels": labels}
    asked = {"requests": {"cpu": "250m", "memory": "512Mi"}}
    pod = {"spec": {"containers": [{"resources": asked}]}}
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta,
        "spec": {"scaleTargetRef": {"name": meta["name"]}, "minReplicas": least, "maxReplicas": 4},
    }
    types = "slipway:index:ModelServer"
    found = []
    for kind, name, inputs in (
        (types, f"churn-v{version}", {}),
        (f"{types}$kubernetes:apps/v1:Deployment", f"churn-v{version}-deployment",
         {"metadata": meta, "spec": {"template": pod}}),
        (f"{types}$kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
         f"churn-v{version}-autoscaler", scaler),
    ):  # fmt: skip
        state = State(inputs)
        old = None if op == "create" else state
        new = None if op == "delete" else state
        found.append(Step(op, f"{URN}{kind}::{name}", old, new))
    return found


def said(old: State | None, new: State | None, *steps: Step, model: str = "churn") -> str:
    """The sentence of a change of a model's route, beside other steps."""
    op = "create" if old is None else "delete" if new is None else "update"
    kind = "slipway:index:ModelRoute$kubernetes:networking.istio.io/v1:VirtualService"
    moved = Step(op, f"{URN}{kind}::{model}-virtual-service", old, new)
    every = [moved, *steps]
    (line,) = of_models(every, workloads(every))
    return plain(line)


def test_the_labels_are_those_of_the_manifests() -> None:
    assert roles.MODEL_LABEL == common.MODEL_LABEL
    assert roles.VERSION_LABEL == common.VERSION_LABEL


@pytest.mark.parametrize(
    ("old", "new", "steps", "sentence"),
    [
        (
            route("churn", (1, 100)),
            route("churn", (3, 100)),
            [*server(1, "delete"), *server(3, "create")],
            "version 3 replaces 1 as stable at once, without a canary; 2 new pods, +0.5 CPU, "
            "+1 GiB; 2 pods go, -0.5 CPU, -1 GiB",
        ),
        (
            route("churn", (2, 100)),
            route("churn", (1, 100)),
            [*server(1, "same"), *server(2, "delete")],
            "goes back: version 1, kept warm, replaces 2 as stable; 2 pods go, -0.5 CPU, -1 GiB; "
            "no other pod restarts",
        ),
        (
            route("churn", (2, 100)),
            route("churn", (2, 95), (3, 5)),
            [*server(1, "delete"), *server(2, "same"), *server(3, "create")],
            "version 3 becomes canary with 5 % of traffic; version 1, which had no traffic, goes; "
            "2 new pods, +0.5 CPU, +1 GiB; 2 pods go, -0.5 CPU, -1 GiB; no other pod restarts",
        ),
        (
            route("churn", (1, 90), (2, 10)),
            route("churn", (1, 60), (3, 40)),
            [],
            "version 3 replaces 2 as canary, with 40 % of traffic instead of 10 %; no pod restarts",
        ),
        (
            route("churn", (1, 90), (2, 10)),
            route("churn", (3, 100)),
            [],
            "version 3 replaces 1 as stable at once, without a canary; canary 2 goes; "
            "no pod restarts",
        ),
        (
            route("churn", (1, 90), (3, 10)),
            route("churn", (2, 90), (3, 10)),
            [],
            "version 2 replaces 1 as stable at once, without a canary; no pod restarts",
        ),
        (
            route("churn", (1, 90), (3, 10)),
            route("churn", (2, 80), (4, 20)),
            [],
            "version 2 replaces 1 as stable at once, without a canary; version 4 replaces 3 as "
            "canary, with 20 % of traffic instead of 10 %; no pod restarts",
        ),
        (
            route("churn", (1, 90), (2, 10)),
            route("churn", (2, 70), (1, 30)),
            [],
            "version 2 is promoted: from canary with 10 % of traffic to stable, in place of 1; "
            "version 1 becomes canary with 30 % of traffic; no pod restarts",
        ),
        (
            route("churn", (2, 100)),
            route("churn", (2, 100)),
            [*server(1, "create"), *server(2, "same")],
            "version 1 is kept warm without traffic; 2 new pods, +0.5 CPU, +1 GiB; "
            "no other pod restarts",
        ),
        (
            route("churn", (1, 90), (2, 10)),
            route("churn", (1, 90), (2, 10), name="churn.sticky"),
            [],
            "clients keep their version (sticky); no pod restarts",
        ),
        (
            route("churn", (1, 100), copy=50),
            route("churn", (1, 100), copy=20),
            [],
            "shadow gets a copy of 20 % of requests instead of 50 %; no pod restarts",
        ),
        (
            route("churn", (1, 100), copy=50),
            route("churn", (1, 100)),
            [],
            "shadow goes; no pod restarts",
        ),
        (
            State({"metadata": {"labels": {roles.MODEL_LABEL: "churn"}}, "spec": {}}),
            State({"metadata": {"labels": {roles.MODEL_LABEL: "churn"}}, "spec": {}}),
            [],
            "its route is known only during the update; no pod restarts",
        ),
    ],
)
def test_what_becomes_of_the_roles(
    old: State, new: State, steps: list[Step], sentence: str
) -> None:
    assert said(old, new, *steps) == f"churn: {sentence}"


weights = st.integers(0, 100)


@given(weights, weights)
def test_a_change_of_weight_is_always_told_and_nothing_else_is(old: int, new: int) -> None:
    before, after = (route("churn", (1, 100 - share), (2, share)) for share in (old, new))
    sentence = said(before, after)
    if old != new:
        assert sentence == (
            f"churn: canary 2 goes from {old} % to {new} % of traffic; no pod restarts"
        )
    else:
        assert sentence == "churn: no pod restarts"


def step(kind: str, op: str, old: State | None = None, new: State | None = None) -> Step:
    return Step(op, f"{URN}{kind}::thing", old, new)


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (step("aws:rds/instance:Instance", "delete", State()),
         ["data lost: Instance thing is deleted: the database"]),
        (step("aws:ec2/instance:Instance", "delete", State()), []),
        (step("aws:s3/bucket:Bucket", "replace", State(), State()),
         ["data lost: Bucket thing is replaced: the objects in this bucket"]),
        (step("aws:s3/bucket:Bucket", "delete", State(retained=True)),
         ["Bucket thing is deleted and kept outside the stack: the objects in this bucket"]),
        (step("aws:s3/bucket:Bucket", "delete", State(protect=True)),
         ["data lost: Bucket thing is deleted: the objects in this bucket",
          "Bucket thing is protected: the update will be refused"]),
        (step("aws:s3/bucket:Bucket", "update", State(protect=True), State()),
         ["Bucket thing is protected no more"]),
        (step("aws:s3/bucket:Bucket", "update", State(retained=True), State()),
         ["Bucket thing is no longer kept when it is deleted"]),
        (step("kubernetes:core/v1:Namespace", "delete", State()),
         ["data lost: Namespace thing is deleted: everything in this namespace"]),
        (step("kubernetes:core/v1:ConfigMap", "delete", State()), []),
    ],
)  # fmt: skip
def test_data_at_risk(found: Step, lines: list[str]) -> None:
    assert [plain(line) for line in risk.data([found])] == lines


def test_alerts_are_named() -> None:
    def rules(*alerts: dict[str, str]) -> State:
        return State({"spec": {"groups": [{"rules": list(alerts)}]}})

    old = rules({"alert": "Down", "expr": "up == 0"}, {"alert": "Old", "expr": "1"})
    new = rules({"alert": "Down", "expr": "up < 1"}, {"alert": "New", "expr": "1"})
    kind = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"
    (line,) = of_platform([step(kind, "update", old, new)], [])
    assert plain(line) == (
        "thing: 1 changed; 1 alert new (New); 1 alert gone (Old); 1 alert changed (Down)"
    )


def test_quantities_are_compared_as_numbers_and_versions_are_not() -> None:
    assert same({"cpu": "1"}, {"cpu": "1000m"})
    assert not same({"cpu": "1"}, {"cpu": "1001m"})
    assert not same({"tag": "1"}, {"tag": "1.0"})
    assert not same({"flag": True}, {"flag": 1})
    assert (quantity("512Mi"), quantity("x"), quantity(None)) == (Decimal(2**29), None, None)
    assert [memory(Decimal(n)) for n in (2**29, 3 * 2**29, 2**20, 2**41)] == [
        "512 MiB", "1.5 GiB", "1 MiB", "2 TiB",
    ]  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), values), st.dictionaries(st.text(max_size=4), values))
def test_every_difference_is_found_and_only_differences(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    found = differences(Step("update", f"{URN}a:b:C::d", State(old), State(new)))
    assert bool(found) == (not same(old, new))
    for one in found:
        assert one.old is ABSENT or one.new is ABSENT or not same(one.old, one.new)
        assert "\n" not in show(one.old) or isinstance(one.old, str)


def test_what_is_secret_all_the_way_down_is_shown_nowhere() -> None:
    old = new = State({"data": "[secret]"})
    kind = f"{URN}kubernetes:core/v1:Secret::keys"
    found = differences(Step("update", kind, old, new, ("data.KEY", "__inputs.data.KEY")))
    assert [(one.path, show(one.old), show(one.new)) for one in found] == [
        ("data.KEY", "[secret]", "[secret]")
    ]
    # A program that does not call it secret gets the same.
    bare = State({"stringData": {"KEY": "hunter2"}})
    written = review("dev", Preview((Step("create", kind, None, bare),))).difference
    assert not any("hunter2" in one.text for one in written)
    assert at(bare.inputs, 'stringData["KEY"]') == "hunter2"


@pytest.mark.parametrize("given_text", ["", "no JSON", "[]", '"text"'])
def test_what_is_no_preview_is_one_line(given_text: str) -> None:
    with pytest.raises(PreviewError, match="^not what `pulumi preview --json` prints: [^\n]*$"):
        parse(given_text)


def test_a_preview_that_did_not_begin_tells_what_pulumi_said() -> None:
    found = parse("", failed=True, said="error: no policy pack there")
    assert (found.errors, found.complete) == (("no policy pack there",), False)
    assert parse("", failed=True).errors == ("pulumi did not say why",)


@given(values)
def test_odd_previews_are_read_without_a_trace(odd: Any) -> None:
    parse(json.dumps({"steps": odd, "diagnostics": odd, "config": odd}), [{"policyEvent": odd}])
    steps = []
    inside = dict.fromkeys(("http", "metrics", "triggers", "template", "groups", "replicas"), odd)
    within = {"http": [odd, {"route": odd}, {"route": [odd]}], "metrics": [odd], "triggers": [odd]}
    within |= {"groups": [odd, {"rules": odd}, {"rules": [odd]}]}
    within |= {"template": {"spec": {"containers": [odd, {"env": [odd], "resources": odd}]}}}
    for kind in ("Deployment", "VirtualService", "HorizontalPodAutoscaler", "ScaledObject", "Key"):
        for spec in (odd, inside, within, within | {"minReplicas": 1, "maxReplicas": 2}):
            for meta in (odd, {"labels": {roles.MODEL_LABEL: "churn", roles.VERSION_LABEL: "1"}}):
                state = {"inputs": {"metadata": meta, "spec": spec, "data": odd, "kind": kind}}
                urn = f"{URN}slipway:index:ModelServer$a:b:{kind}::d{len(steps)}"
                change = {"detailedDiff": odd, "replaceReasons": odd}
                steps.append({"op": "create", "urn": urn, "newState": state})
                steps.append(
                    {"op": "update", "urn": f"{urn}u", "oldState": odd, "newState": state} | change
                )
    review("dev", parse(json.dumps({"steps": steps})))
