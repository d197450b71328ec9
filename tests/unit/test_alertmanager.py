"""Who is told of which alert: the configuration against Alertmanager's own tools and server, and
what keeps a receiver's secret secret.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pulumi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.alertmanager import Alertmanager, AlertmanagerArgs
from components.manifests import alertmanager, prometheus, receiver_secrets, rules
from settings.monitoring import Alerts
from tests.conftest import ROOT, Program, run

AMTOOL = str(ROOT / ".slipway/bin/amtool")
SERVER = str(ROOT / ".slipway/bin/alertmanager")
MODELS = ["churn", "churn-2", "fraud", "a"]
NOWHERE = "http://127.0.0.1:9"
DURATIONS = ["500ms", "1.5h", "0.001ms", "30s", "7d", "99999999d"]
RECEIVERS = {
    "chat": {"kind": "slack", "channel": "#models"},
    "pager": {"kind": "pagerduty"},
    "hook": {"kind": "webhook"},
    "open": {"kind": "webhook", "url": "https://gate.example/a?b=c#d"},
}
SECRET_VALUES = {
    "chat": "https://hooks.slack.example/T0/B0/the-secret-of-chat",
    "pager": "0123456789abcdef0123456789abcdef",
    "hook": "https://hook.example/the-secret-of-hook",
}


def alerts(**values: Any) -> Alerts:
    return Alerts.model_validate({"receivers": RECEIVERS, "default": "hook", **values})


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
RECEIVER = st.one_of(
    st.just({"kind": "pagerduty"}),
    st.just({"kind": "webhook"}),
    st.builds(
        lambda path: {"kind": "webhook", "url": f"https://gate.example:8443/{path}"},
        st.text("abcZ09/?&=#:',()@~!$*+;-._", max_size=20),
    ),
    st.builds(
        lambda channel: {"kind": "slack", "channel": channel},
        st.from_regex(r"[#@][-._a-z0-9]{1,30}", fullmatch=True),
    ),
)


@st.composite
def configured(draw: st.DrawFn) -> Alerts:
    receivers = draw(st.dictionaries(NAMES, RECEIVER, max_size=5))
    if not receivers:
        return Alerts()
    of = st.sampled_from(sorted(receivers))
    routes = st.lists(
        st.fixed_dictionaries(
            {"receiver": of},
            optional={
                "severity": st.sampled_from(["critical", "warning"]),
                "models": st.lists(st.sampled_from(MODELS), max_size=3),
            },
        ),
        max_size=5,
    ).map(lambda them: [it for it in them if it.keys() & {"severity"} or it.get("models")])
    times = {key: draw(st.sampled_from(DURATIONS)) for key in ("group_wait", "repeat")}
    return Alerts.model_validate(
        {"receivers": receivers, "default": draw(of), "routes": draw(routes), **times}
    )


@given(st.lists(configured(), min_size=5, max_size=20))
@settings(max_examples=25, deadline=None)
def test_alertmanager_takes_every_configuration(many: list[Alerts]) -> None:
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, f"{number}.yml") for number, _ in enumerate(many)]
        for file, each in zip(files, many, strict=True):
            file.write_text(alertmanager.configuration(each))
        checked = subprocess.run(
            [AMTOOL, "check-config", *map(str, files)], capture_output=True, text=True
        )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("SUCCESS") == len(many)


def test_a_configuration_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    text = alertmanager.configuration(alerts()).replace('"receiver": "hook"', '"receiver": "hok"')
    (tmp_path / "bad.yml").write_text(text)
    checked = subprocess.run(
        [AMTOOL, "check-config", str(tmp_path / "bad.yml")], capture_output=True, text=True
    )
    assert checked.returncode != 0 and "hok" in checked.stdout


@given(
    configured(),
    st.sampled_from(["critical", "warning"]),
    st.one_of(st.none(), st.sampled_from([*MODELS, "churn-22", "xchurn"])),
)
@settings(max_examples=60, deadline=None)
def test_the_first_route_that_fits_takes_an_alert(
    it: Alerts, severity: str, model: str | None
) -> None:
    expected = it.default or alertmanager.NOBODY
    for route in it.routes:
        if route.severity in (None, severity) and (not route.models or model in route.models):
            expected = route.receiver
            break
    labels = ["alertname=X", f"severity={severity}", *([f"model_name={model}"] if model else [])]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(alertmanager.configuration(it))
        file.flush()
        found = subprocess.run(
            [AMTOOL, "config", "routes", "test", f"--config.file={file.name}", *labels],
            capture_output=True,
            text=True,
        )
    assert (found.returncode, found.stdout.split()) == (0, [expected]), found.stderr


@given(configured(), st.sampled_from(["critical", "warning"]))
@settings(max_examples=30, deadline=None)
def test_everybody_is_told_once_that_somebody_is_not(it: Alerts, severity: str) -> None:
    labels = ["alertname=AlertsNotDelivered", f"severity={severity}"]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(alertmanager.configuration(it))
        file.flush()
        found = subprocess.run(
            [AMTOOL, "config", "routes", "test", f"--config.file={file.name}", *labels],
            capture_output=True,
            text=True,
        )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip().split(",") == (sorted(it.receivers) or [alertmanager.NOBODY])


def test_without_receivers_nobody_is_told() -> None:
    config = json.loads(alertmanager.configuration(Alerts()))
    assert config["receivers"] == [{"name": "nobody"}]
    assert config["route"]["receiver"] == "nobody" and config["route"]["routes"] == []


def test_what_is_secret_is_read_from_a_file() -> None:
    config = json.loads(alertmanager.configuration(alerts()))
    found = {}
    for receiver in config["receivers"]:
        name = receiver.pop("name")
        ((kind, (reached,)),) = receiver.items()
        (where,) = [
            (key, value)
            for key, value in reached.items()
            if key in ("url", "url_file", "api_url_file", "routing_key_file")
        ]
        assert not {"api_url", "routing_key", "service_key"} & set(reached)
        found[name] = (kind, where)
    at = "/etc/alertmanager-secrets"
    assert found == {
        "chat": ("slack_configs", ("api_url_file", f"{at}/chat")),
        "hook": ("webhook_configs", ("url_file", f"{at}/hook")),
        "open": ("webhook_configs", ("url", "https://gate.example/a?b=c#d")),
        "pager": ("pagerduty_configs", ("routing_key_file", f"{at}/pager")),
    }


def test_the_order_of_receivers_changes_nothing() -> None:
    again = Alerts.model_validate(
        {"default": "hook", "receivers": dict(reversed(RECEIVERS.items()))}
    )
    assert alertmanager.configuration(again) == alertmanager.configuration(alerts())


@pytest.mark.parametrize(
    "names, faults",
    [
        (["chat", "hook", "pager"], []),
        (
            ["hook", "pager"],
            [
                "slipway:alertSecrets.chat: is not set; receiver chat of kind slack needs it: "
                "pulumi config set --secret --path 'slipway:alertSecrets.chat' <value>"
            ],
        ),
        (
            ["chat", "hook", "pager", "open"],
            [
                "slipway:alertSecrets.open: receiver open has its URL in "
                "slipway:alerts.receivers.open.url already; keep one of the two: "
                "pulumi config rm --path 'slipway:alertSecrets.open'"
            ],
        ),
        (
            ["chatt", "hook", "pager", "zebra"],
            [
                "slipway:alertSecrets.chat: is not set; receiver chat of kind slack needs it: "
                "pulumi config set --secret --path 'slipway:alertSecrets.chat' <value>",
                "slipway:alertSecrets.chatt: belongs to no receiver; did you mean chat? (with a "
                "secret: chat, hook, pager): pulumi config rm --path 'slipway:alertSecrets.chatt'",
                "slipway:alertSecrets.zebra: belongs to no receiver (with a secret: chat, hook, "
                "pager): pulumi config rm --path 'slipway:alertSecrets.zebra'",
            ],
        ),
    ],
)
def test_secrets_and_receivers_belong_together(names: list[str], faults: list[str]) -> None:
    assert receiver_secrets.faults(alerts(), names) == faults


def test_secrets_without_any_receiver_are_refused() -> None:
    (fault,) = receiver_secrets.faults(Alerts(), ["chat"])
    assert "slipway:alertSecrets.chat: belongs to no receiver (with a secret: none)" in fault


def test_what_reaches_nobody_is_refused_and_not_shown() -> None:
    assert receiver_secrets.value_faults(alerts(), SECRET_VALUES) == []
    bad = {"chat": "hooks.slack.example/T0", "pager": "short-key", "hook": ""}
    found = receiver_secrets.value_faults(alerts(), bad)
    how = "pulumi config set --secret --path 'slipway:alertSecrets"
    url = "is not a URL such as https://gate.example/churn"
    assert found == [
        f"slipway:alertSecrets.chat: {url}; {how}.chat' <value>",
        f"slipway:alertSecrets.hook: {url}; {how}.hook' <value>",
        "slipway:alertSecrets.pager: is not an integration key of PagerDuty's Events API v2: 32 "
        f"letters and digits; {how}.pager' <value>",
    ]


def deployment(it: Alerts, secret: str | None = None) -> dict[str, Any]:
    return alertmanager.deployment(it, "image", "http://url", "config", "claim", secret)


def test_its_pod_keeps_its_state_and_may_do_nothing_else() -> None:
    spec = deployment(alerts(), "secrets-1a2b")
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [it for it in container["volumeMounts"] if not it.get("readOnly")]
    assert writable == [{"name": "data", "mountPath": "/data"}]
    assert "--storage.path=/data" in container["command"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": "claim"}
    assert volumes["secrets"]["secret"] == {"secretName": "secrets-1a2b", "defaultMode": 0o440}


def test_without_secrets_none_is_mounted() -> None:
    assert "secrets" not in json.dumps(deployment(Alerts())["template"]["spec"])


@pytest.mark.parametrize(
    "repeat, kept", [("4h", "120h"), ("3d", "144h"), ("90.5h", "181h"), ("99999999d", "1752000h")]
)
def test_what_was_sent_is_known_until_it_is_sent_again(repeat: str, kept: str) -> None:
    (container,) = deployment(alerts(repeat=repeat))["template"]["spec"]["containers"]
    assert f"--data.retention={kept}" in container["command"]


def test_another_configuration_makes_another_pod() -> None:
    template = deployment(alerts())["template"]
    assert deployment(alerts(runbooks="https://docs.example"))["template"] == template
    other = deployment(alerts(group_wait="1m"))["template"]
    assert other["metadata"]["annotations"] != template["metadata"]["annotations"]


def component(it: Alerts, secrets: dict[str, str] | None, *, wrapped: bool = False) -> Program:
    def program() -> None:
        given = pulumi.Output.secret(secrets) if wrapped and secrets else secrets
        args = AlertmanagerArgs("monitoring", "image", it, given)
        Alertmanager("alertmanager", args, pulumi.ResourceOptions())

    return run(program)


@pytest.mark.parametrize("wrapped", [True, False])
def test_secrets_stand_in_one_object_alone_and_are_secret(wrapped: bool) -> None:
    program = component(alerts(), SECRET_VALUES, wrapped=wrapped)
    secret = program.one("Secret", "alertmanager-secrets")
    assert secret.inputs["stringData"] == SECRET_VALUES
    assert secret.secret == {"stringData"}
    assert (secret.inputs["immutable"], secret.delete_before_replace) == (True, False)
    assert "name" not in secret.inputs["metadata"]
    others = [it for it in program.custom() if it != secret]
    assert len(others) == 6
    assert not any(value in repr(others) for value in SECRET_VALUES.values())
    pod = program.one("Deployment", "alertmanager-deployment").inputs["spec"]["template"]["spec"]
    (mounted,) = [it["secret"] for it in pod["volumes"] if "secret" in it]
    assert mounted["secretName"] == "alertmanager-secrets-1a2b3c4d"


def test_without_a_secret_receiver_there_is_no_secret() -> None:
    assert component(Alerts(), None).of("Secret") == []


def test_a_receiver_without_its_secret_is_refused() -> None:
    with pytest.raises(pulumi.RunError, match=r"^slipway:alertSecrets\.chat: is not set"):
        Alertmanager("alertmanager", AlertmanagerArgs("monitoring", alerts=alerts()))


def test_prometheus_alone_reaches_it() -> None:
    policy = component(Alerts(), None).one("NetworkPolicy", "alertmanager-policy").inputs["spec"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"] == {"matchLabels": prometheus.selector()}
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert rule["ports"] == [{"protocol": "TCP", "port": 9093}]


Sent = list[tuple[str, dict[str, Any]]]


@contextmanager
def listening() -> Iterator[tuple[str, Sent]]:
    """A server that takes every notification: its URL, and (path, body) of each."""
    sent: Sent = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["content-length"]))
            sent.append((self.path, json.loads(body)))
            # PagerDuty answers with 202, Slack with ok.
            self.send_response(202 if self.path == "/pager" else 200)
            self.end_headers()
            self.wfile.write(b"{}" if self.path == "/pager" else b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", sent
        server.shutdown()


@contextmanager
def alertmanager_of(it: Alerts, place: Path, there: str) -> Iterator[httpx.Client]:
    """An Alertmanager with this configuration whose receivers are all at `there`."""
    secrets = place / "secrets"
    secrets.mkdir(exist_ok=True)
    for name in receiver_secrets.names(it):
        (secrets / name).write_text(f"{there}/{name}\n")
    text = alertmanager.configuration(it).replace(alertmanager.SECRETS, str(secrets))
    config = json.loads(text) | {"global": {"pagerduty_url": f"{there}/pager"}}
    (place / "alertmanager.yml").write_text(json.dumps(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(SERVER, f"--config.file={place}/alertmanager.yml", f"--storage.path={place}/data"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
    ]
    with (place / "log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            until(lambda: process.poll() is not None or answers(client), place / "log")
            assert process.poll() is None, (place / "log").read_text()
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
    assert code == 0, (place / "log").read_text()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(done: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def alert(name: str, severity: str, model: str | None = "churn", **labels: str) -> dict[str, Any]:
    of = {"model_name": model} if model else {}
    return {
        "labels": {"alertname": name, "severity": severity, **of, **labels},
        "annotations": {
            "summary": f"{name} <here> & now",
            "description": "p95 > 1s",
            "runbook_url": f"https://docs.example/{name}",
        },
    }


def key(it: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(it["labels"].items()))


def states(expected: dict[Any, str], fired: list[dict[str, Any]], place: Path) -> dict[Any, str]:
    """Labels of each alert -> active or suppressed, where all of these fire, once that is as
    expected.
    """

    def now(client: httpx.Client) -> dict[Any, str]:
        return {key(it): it["status"]["state"] for it in client.get("/api/v2/alerts").json()}

    with alertmanager_of(Alerts(group_wait="100ms"), place, NOWHERE) as client:
        client.post("/api/v2/alerts", json=fired).raise_for_status()
        end = time.monotonic() + 10
        while now(client) != expected and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)  # and it stays so
        return now(client)


def test_what_is_muted_and_by_what(tmp_path: Path) -> None:
    muted = [
        alert("ModelAvailabilityBurningSlowly", "warning"),
        alert("ModelLatencyBurningSlowly", "warning"),
        alert("ModelLatencyBurningSlowly", "warning", "shop"),
        alert("ModelServerRestarting", "warning", model_version="2"),
        alert("TargetMissing", "warning", model_version="2", job="pods", namespace="models"),
        alert("TargetMissing", "warning", None, job="pods", namespace="mlflow", pod="mlflow-0"),
    ]
    heard = [
        alert("ModelTrafficStopped", "warning"),
        alert("ModelLatencyBurningSlowly", "warning", "slow"),
        alert("ModelServerDown", "warning", "slow", model_version="2"),
        alert("PlatformDown", "critical", None, namespace="mlflow", deployment="mlflow"),
        alert("PlatformDown", "critical", None, namespace="monitoring", deployment="grafana"),
        alert("TargetMissing", "warning", None, job="prometheus"),
        alert("ModelAvailabilityBurningFast", "critical"),
        alert("ModelLatencyBurningFast", "critical"),
        alert("ModelLatencyBurningFast", "critical", "shop"),
        alert("ModelServerDown", "critical", model_version="2"),
        alert("ModelServerRestarting", "warning", model_version="1"),
        alert("ModelInputsDrifting", "warning", model_version="2"),
        alert("TargetMissing", "warning", model_version="1", job="pods", namespace="models"),
        alert("TargetMissing", "warning", None, job="kubelet"),
        alert("ModelAvailabilityBurningSlowly", "warning", "fraud"),
        alert("ModelTrafficStopped", "warning", "fraud"),
        alert("VolumeNearlyFull", "critical", None),
        alert("AlertsNotDelivered", "critical", None),
    ]
    expected = {key(it): "suppressed" for it in muted} | {key(it): "active" for it in heard}
    assert states(expected, muted + heard, tmp_path) == expected


def test_a_bucket_that_is_down_does_not_hide_that_mlflow_is_silent(tmp_path: Path) -> None:
    down = alert("PlatformDown", "critical", None, namespace="mlflow", deployment="versitygw")
    silent = alert("TargetMissing", "warning", None, job="pods", namespace="mlflow", pod="mlflow-0")
    expected = {key(down): "active", key(silent): "active"}
    assert states(expected, [down, silent], tmp_path) == expected


def test_a_gateway_that_is_down_tells_that_alone(tmp_path: Path) -> None:
    where = {"namespace": "istio-ingress"}
    down = alert("PlatformDown", "critical", None, **where, deployment="istio-ingress")
    silent = alert("TargetMissing", "warning", None, **where, job="pods", pod="istio-ingress-0")
    stopped = alert("ModelTrafficStopped", "warning")
    expected = {key(down): "active", key(silent): "suppressed", key(stopped): "suppressed"}
    assert states(expected, [down, silent, stopped], tmp_path) == expected


@pytest.mark.parametrize("where", [{}, {"namespace": "istio-ingress", "pod": "istio-ingress-0"}])
def test_a_gateway_that_is_not_read_says_nothing_of_traffic(
    where: dict[str, str], tmp_path: Path
) -> None:
    missing = alert("TargetMissing", "warning", None, job="pods", **where)
    stopped = alert("ModelTrafficStopped", "warning")
    expected = {key(missing): "active", key(stopped): "suppressed"}
    assert states(expected, [missing, stopped], tmp_path) == expected


def test_nothing_critical_is_muted_and_every_name_is_that_of_an_alert() -> None:
    config = json.loads(alertmanager.configuration(Alerts()))
    named = set()
    for rule in config["inhibit_rules"]:
        assert 'severity!="critical"' in rule["target_matchers"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if matcher.startswith("alertname"):
                named |= set(matcher.split('"')[1].split("|"))
    assert len(named) > 5 and named <= set(rules.alert_names())


def test_each_receiver_gets_what_is_its_own_and_can_read_it(tmp_path: Path) -> None:
    it = alerts(
        group_wait="100ms",
        group_interval="200ms",
        routes=[
            {"receiver": "pager", "severity": "critical"},
            {"receiver": "chat", "models": ["churn"]},
        ],
    )
    drifting = [
        alert("ModelInputsDrifting", "warning", model_version="3", feature=f"f{i:02}")
        for i in range(12)
    ]
    down = alert("ModelServerDown", "critical", model_version="2")
    with listening() as (there, sent), alertmanager_of(it, tmp_path, there) as client:
        everything = [*drifting, down, alert("VolumeNearlyFull", "warning", None)]
        client.post("/api/v2/alerts", json=everything).raise_for_status()
        until(lambda: len(sent) >= 3, tmp_path / "log")
        by_path = dict(sent)
        over = [each | {"endsAt": datetime.now(UTC).isoformat()} for each in (down, drifting[0])]
        client.post("/api/v2/alerts", json=over).raise_for_status()
        until(lambda: len(sent) >= 5, tmp_path / "log")

    assert set(by_path) == {"/chat", "/pager", "/hook"}
    assert [a["labels"]["alertname"] for a in by_path["/hook"]["alerts"]] == ["VolumeNearlyFull"]

    (message,) = by_path["/chat"]["attachments"]
    assert by_path["/chat"]["channel"] == "#models"
    assert message["title"] == "[FIRING 12] ModelInputsDrifting of churn"
    assert message["color"] == "warning"
    one = (
        "*ModelInputsDrifting &lt;here&gt; &amp; now*\np95 &gt; 1s\nModel: churn, version 3\n"
        "Runbook: https://docs.example/ModelInputsDrifting"
    )
    assert message["text"] == "\n\n".join([one] * 10) + "\n\nThe first 10 of 12."

    page = by_path["/pager"]
    assert page["routing_key"] == f"{there}/pager" and page["event_action"] == "trigger"
    said = page["payload"]
    assert said["summary"] == "ModelServerDown of churn: ModelServerDown <here> & now"
    assert (said["severity"], said["component"]) == ("critical", "churn")
    assert said["custom_details"]["runbook_url"] == "https://docs.example/ModelServerDown"
    assert said["custom_details"]["alerts"] == (
        "ModelServerDown <here> & now\np95 > 1s\nModel: churn, version 2\n"
        "Runbook: https://docs.example/ModelServerDown"
    )

    later = dict(sent[3:])
    assert later["/pager"]["event_action"] == "resolve"
    (message,) = later["/chat"]["attachments"]
    assert message["title"] == "[FIRING 11] ModelInputsDrifting of churn"
    assert "now* (resolved)\n" in message["text"]


def test_a_silence_outlives_the_pod(tmp_path: Path) -> None:
    with alertmanager_of(Alerts(), tmp_path, NOWHERE) as client:
        url = str(client.base_url)
        made = subprocess.run(
            [
                *(AMTOOL, f"--alertmanager.url={url}", "silence", "add", "model_name=churn"),
                *("--comment=retrained", "--duration=1h", "--author=me"),
            ],
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
    with alertmanager_of(Alerts(), tmp_path, NOWHERE) as client:
        (silence,) = client.get("/api/v2/silences").json()
    assert silence["id"] == made.stdout.strip()
    assert silence["status"]["state"] == "active"
