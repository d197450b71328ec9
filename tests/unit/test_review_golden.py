"""What is said of previews that Pulumi itself has printed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from review.markdown import DRIFTED, comment
from review.preview import Preview
from review.report import review
from review.words import plain
from tests.previews import golden

CASES = golden.cases()
# What the first sentence of each case is, word for word.
MEANING = {
    "cold-start": "churn: versions 1 and 2: may sleep after 15 min without a request instead of "
    "5 min, the next request waits up to 2 min for a pod instead of 90 s; no pod restarts",
    "first": "churn: new model; version 1 is stable; version 2 becomes canary with 10 % of "
    "traffic; 4 new pods, +1 CPU, +2 GiB",
    "floor": "churn: version 2: at least 4 pods instead of 2; up to 2 more pods, +0.5 CPU, +1 GiB; "
    "no pod restarts",
    "image": "churn: each of versions 1 and 2: 2 to 4 pods restart (image)",
    "keda": "churn: versions 1 and 2: scaled by requests a second too (KEDA), no longer by CPU and "
    "memory alone, a pod is to bear 50 requests a second; no pod restarts",
    "new-canary": "churn: version 3 becomes canary with 5 % of traffic; 2 new pods, +0.5 CPU, "
    "+1 GiB; no other pod restarts",
    "new-model": "fraud: new model; version 1 is stable; 2 new pods, +0.5 CPU, +1 GiB",
    "new-sleeper": "night: new model; version 1 is stable; version 1: may sleep after 5 min "
    "without a request, and the next one waits up to 90 s for a pod",
    "observability": "monitoring (Prometheus): 1 changed, 1 replaced; 1 recording rule changed; "
    "1 pod restarts (command, configuration)",
    "policy": "churn: canary 2 goes from 10 % to 25 % of traffic; each of versions 1 and 2: "
    "2 to 4 pods restart (command, environment)",
    "promotion": "churn: version 2 is promoted: from canary with 100 % of traffic to stable, in "
    "place of 1; version 1 stays warm without traffic; no pod restarts",
    "removed-model": "fraud: is removed; its route answers no more; 2 pods go, -0.5 CPU, -1 GiB",
    "replaced-canary": "churn: version 3 replaces 2 as canary at 10 % of traffic; 2 new pods, "
    "+0.5 CPU, +1 GiB; 2 pods go, -0.5 CPU, -1 GiB; no other pod restarts",
    "resources": "churn: each of versions 1 and 2: 2 to 4 pods restart (resources), a pod asks for "
    "0.5 CPU instead of 0.25 and 1 GiB instead of 512 MiB",
    "rollback": "churn: canary 2 goes, it had 10 % of traffic; stable 1 takes all; 2 pods go, "
    "-0.5 CPU, -1 GiB; no other pod restarts",
    "scaling": "churn: versions 1 and 2: at least 3 pods instead of 2, at most 8 pods instead of "
    "4, a pod is to bear 60 % of cpu instead of 70 %; up to 2 more pods, +0.5 CPU, +1 GiB; "
    "no pod restarts",
    "secret": "artifacts (artifact bucket): 1 changed, 1 replaced; 1 pod restarts (environment)",
    "shadow": "churn: version 3 becomes shadow and gets a copy of 50 % of requests; 3 new pods, "
    "+0.55 CPU, +1.25 GiB; no other pod restarts",
    "sleep": "churn: versions 1 and 2: may sleep after 5 min without a request, and the next one "
    "waits up to 90 s for a pod (switch in a quiet moment: docs/scale-to-zero.md); each of "
    "versions 1 and 2: 2 to 4 pods restart (labels)",
    "sleep-floor": "churn: versions 1 and 2: kept awake by at least 1 pod; up to 2 more pods, "
    "+0.5 CPU, +1 GiB; no pod restarts",
    "traces": "churn: each of versions 1 and 2: 2 to 4 pods restart (environment)",
    "unknown": "churn: each of versions 1 and 2: 2 to 4 pods may restart (image, known only during "
    "the update)",
    "volume-deleted": "artifacts (artifact bucket): 6 deleted; 1 pod goes, -0.02 CPU, -64 MiB",
    "volume-shrunk": "artifacts (artifact bucket): 1 changed",
    "wake": "churn: versions 1 and 2: no longer sleeping, at least 2 pods (wake by a request "
    "first: docs/scale-to-zero.md); each of versions 1 and 2: 0 to 4 pods restart (labels); up to "
    "4 more pods, +1 CPU, +2 GiB",
    "weight": "churn: canary 2 goes from 10 % to 25 % of traffic; no pod restarts",
}


@pytest.mark.parametrize("case", CASES)
def test_the_comment_is_as_it_was_read_and_approved(case: str) -> None:
    wanted = (golden.HERE / f"golden/{case}.md").read_text()
    assert comment(golden.reviewed(case)) == wanted


@pytest.mark.parametrize("case", sorted(MEANING))
def test_the_meaning_comes_first(case: str) -> None:
    section = golden.reviewed(case).sections[0]
    assert section.title == "What it means"
    assert plain(section.lines[0]) == MEANING[case]


def test_every_recording_has_its_meaning_or_none() -> None:
    assert set(CASES) - set(MEANING) == {"nothing", "bad-key"}
    assert golden.reviewed("nothing").summary == "nothing changes"
    assert not golden.reviewed("nothing").difference


def sections(case: str) -> dict[str, list[str]]:
    return {
        one.title: [plain(line) for line in one.lines] for one in golden.reviewed(case).sections
    }


def test_what_comes_beside_a_model_is_told() -> None:
    holder = "activator (holds requests for versions that sleep): "
    for case, line in (
        ("sleep", f"{holder}5 new; 2 new pods, +0.1 CPU, +512 MiB"),
        ("new-sleeper", f"{holder}5 new; 2 new pods, +0.1 CPU, +512 MiB"),
        ("cold-start", f"{holder}1 changed; 2 pods restart (environment)"),
        ("wake", f"{holder}5 deleted; 2 pods go, -0.1 CPU, -512 MiB"),
        ("traces", "mesh-tracing (traces): 3 new; 5 % of requests are traced"),
    ):
        assert sections(case)["What it means"][1:] == [line]


def test_what_holds_data_is_named_when_it_goes() -> None:
    assert sections("volume-deleted")["Data at risk"] == [
        "data lost: PersistentVolumeClaim artifacts-volume is deleted: the data on this volume"
    ]
    assert sections("volume-shrunk")["Data at risk"] == [
        "PersistentVolumeClaim artifacts-volume is to shrink from 5Gi to 1Gi: Kubernetes refuses "
        "that"
    ]
    assert "Data at risk" not in sections("replaced-canary")


def test_a_policy_that_must_be_kept_refuses_the_update() -> None:
    found = golden.reviewed("policy")
    assert found.refused
    assert not found.good
    assert not found.errors
    first, second = sections("policy")["Policies"]
    assert first.startswith(
        "critical, the update is refused: no-pickled-models on Deployment churn-v1-deployment, "
        "Deployment churn-v2-deployment; "
    )
    assert second.startswith("low: labels-for-owner on ")
    assert sections("weight")["Policies"] == ["no policy was asked"]


def test_a_preview_that_failed_says_why() -> None:
    found = golden.reviewed("bad-key")
    assert found.errors == (
        "slipway:models.churn.canary.weight: 110 is not a whole percentage from 0 to 100",
    )
    assert found.summary == "the preview failed"
    assert not found.good


def test_no_secret_is_in_any_recording_or_comment() -> None:
    for file in [*golden.HERE.glob("*.json"), *golden.HERE.glob("golden/*.md")]:
        text = file.read_text()
        for secret in ("the-secret-of-the-tests", "AKIA-of-the-tests", "another-secret"):
            assert secret not in text
    assert "~   data.AWS_SECRET_ACCESS_KEY: [secret]" in comment(golden.reviewed("secret"))


def test_the_order_in_which_pulumi_was_done_does_not_matter() -> None:
    for case in ("replaced-canary", "first", "policy"):
        recorded = json.loads((golden.HERE / f"{case}.json").read_text())
        steps = recorded["steps"]
        random.Random(4).shuffle(steps)
        events = recorded["events"][::-1]
        shuffled = golden.parse(json.dumps(recorded["preview"] | {"steps": steps}), events)
        assert comment(review("dev", shuffled)) == comment(golden.reviewed(case))


def test_without_what_stays_as_it_is_less_is_said_and_nothing_wrong() -> None:
    whole = golden.preview("image")
    found = Preview(tuple(step for step in whole.steps if step.op != "same"))
    line = plain(review("dev", found).sections[0].lines[0])
    assert line == "churn: each of versions 1 and 2: pods restart (image)"


def test_a_comment_keeps_its_meaning_whatever_is_cut() -> None:
    whole = comment(golden.reviewed("first"))
    for limit in (1500, 3000, 10_000):
        text = comment(golden.reviewed("first"), limit)
        assert len(text) <= limit
        assert "version 2 becomes canary with 10 % of traffic" in text
        assert text.startswith("<!-- slipway-preview:dev -->\n")
        assert text.count("```") % 2 == 0
        assert text.count("<details>") == text.count("</details>")
    assert "more lines; `make preview` shows all of it" in comment(golden.reviewed("first"), 3000)
    assert len(whole) > 10_000


def test_the_recordings_say_nothing_of_the_machine_they_come_from() -> None:
    for file in Path(golden.HERE).glob("*.json"):
        assert not any(
            sign in file.read_text()
            for sign in ("/home/", "/root/", "/tmp/", "/work/", "/var/", "sourcePosition")
        )


def test_what_somebody_did_without_an_update_is_said_to_be_that() -> None:
    found = review("dev", golden.preview("scaling"), drift=True)
    text = comment(found)
    assert text.startswith("<!-- slipway-drift:dev -->\n")
    assert f"\n{DRIFTED}\n" in text
    assert "Policies" not in text
    assert DRIFTED not in comment(review("dev", golden.preview("nothing"), drift=True))
    assert DRIFTED not in comment(golden.reviewed("scaling"))
