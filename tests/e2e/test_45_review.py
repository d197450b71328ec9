"""What a review says of the running instance is what then happens."""

from __future__ import annotations

from tests.e2e.harness import Done, Walk, run


def review(walk: Walk, *arguments: str) -> Done:
    """The command behind `make preview`, in the instance's project and environment."""
    command = [".venv/bin/python", "-m", "review", *arguments, "--stack", "dev", "--all"]
    return run(command, walk.environment, cwd=walk.project, seconds=300, check=False)


def test_a_change_of_weight_is_told_before_it_happens(walk: Walk) -> None:
    """One resource changes, no pod restarts, and the preview itself changes nothing."""
    before = walk.weight()
    assert before is not None
    pods = {version: set(walk.pods(version)) for version in (1, 2)}
    walk.set_weight(before + 15)
    try:
        done = review(walk, "preview", "--markdown", "comment.md")
        assert done.code == 0, done.text
        walk.note(f"review of a change of weight: {done.seconds:.1f} s")
        text = (walk.project / "comment.md").read_text()
        sentence = f"canary 2 goes from {before} % to {before + 15} % of traffic; no pod restarts"
        assert f"- `churn`: {sentence}\n" in text
        assert "### `dev`: 1 changed resource\n" in text
        walk.deploy()
        assert {version: set(walk.pods(version)) for version in (1, 2)} == pods
    finally:
        walk.set_weight(before)
        walk.deploy()
    assert "dev: nothing changes" in review(walk, "preview").out


def test_a_configuration_that_is_refused_fails_the_preview_in_one_line(walk: Walk) -> None:
    """The review says what the program says, and the exit status is that of a failure."""
    before = walk.weight()
    assert before is not None
    walk.set_weight(110)
    try:
        done = review(walk, "preview")
        assert done.code == 1
        assert "slipway:models.churn.canary.weight: 110 is not a whole percentage" in done.out
        assert "Traceback" not in done.text
    finally:
        walk.set_weight(before)


def test_no_secret_of_the_stack_is_shown(walk: Walk) -> None:
    """New keys of the bucket are a change, and none of its lines holds them."""
    old = walk.pulumi("config", "get", "slipway:bucketSecretKey").out.strip()
    walk.pulumi("config", "set", "--secret", "slipway:bucketSecretKey", "a-new-key-of-the-tests")
    try:
        done = review(walk, "preview", "--markdown", "comment.md")
        text = done.text + (walk.project / "comment.md").read_text()
        assert "artifacts-credentials" in text
        assert old not in text
        assert "a-new-key-of-the-tests" not in text
    finally:
        walk.pulumi("config", "set", "--secret", "slipway:bucketSecretKey", old)


def test_what_somebody_changes_in_the_cluster_is_drift(walk: Walk) -> None:
    """It is told with its status, and so is that it is over."""
    assert review(walk, "drift").code == 0
    scaler = ("-n", "models", "patch", "hpa", "churn-v1", "--type", "merge", "-p")
    found = walk.objects("hpa", "models", "slipway.dev/model=churn")
    most = next(o["spec"]["maxReplicas"] for o in found if o["metadata"]["name"] == "churn-v1")
    walk.kubectl(*scaler, f'{{"spec":{{"maxReplicas":{most + 2}}}}}')
    try:
        done = review(walk, "drift", "--markdown", "drift.md")
        assert done.code == 3, done.text
        assert "HorizontalPodAutoscaler churn-v1-autoscaler" in done.out
        assert (walk.project / "drift.md").read_text().startswith("<!-- slipway-drift:dev -->\n")
    finally:
        walk.kubectl(*scaler, f'{{"spec":{{"maxReplicas":{most}}}}}')
    assert review(walk, "drift").code == 0
