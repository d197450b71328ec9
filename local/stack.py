"""Deploying the Pulumi stack: environment, configuration, update, and taking up a killed one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import known_errors
from local import node, toolkit, tools
from local.console import UserError, say
from local.instance import PROJECT, Instance, cache_dir, state_root
from local.node_files import CNI_BIN, CNI_CONF
from local.optional import as_object, serves_https, sign_in_host, wants_sidecars
from local.pki import write_private

# Plugin → its version and the tool that provides it.
PLUGINS = {
    "kubernetes": ("4.25.0", "pulumi-resource-kubernetes"),
    "docker-build": ("0.0.22", "pulumi"),
}


@dataclass(frozen=True)
class Target:
    """Where a stack goes: its name, and the environment in which Pulumi finds everything.

    `settings` holds configuration that belongs to the place and is written at every update, as
    path → value; `first` is written once, when the stack is made. None removes a key. `directory`
    is the project's.
    """

    stack: str
    environment: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)
    directory: Path = PROJECT


class StackLockedError(UserError):
    """Another update of the stack is under way."""


def on_one_machine(instance: Instance) -> Target:
    """Stack `dev` on the one-machine cluster."""
    environment = _environment(instance.state / "pulumi")
    environment.update(
        KUBECONFIG=str(instance.kubeconfig),
        DOCKER_CONFIG=f"{instance.state}/docker",
    )
    file = PROJECT / "Pulumi.dev.yaml"
    urls = {
        f"{name}.url": f"http://127.0.0.1:{instance.ports[name]}"
        for name in ("gateway", "mlflow", "prometheus")
    }
    if serves_https(file):
        urls["gateway.url"] = urls["gateway.url"].replace("http:", "https:")
    if host := sign_in_host(file):
        # Behind a sign-in MLflow has a host at the gateway, and no port of its own.
        urls["mlflow.url"] = urls["gateway.url"].replace("127.0.0.1", host)
    environment["MLFLOW_TRACKING_URI"] = urls["mlflow.url"]
    places = {"registry": instance.registry, **urls}
    if wants_sidecars(file):
        places |= {"istio.cni_bin_dir": CNI_BIN, "istio.cni_conf_dir": CNI_CONF}
    return Target("dev", environment, places)


def on_existing(context: str, registry: str) -> Target:
    """The configuration of `dev` on a cluster and registry that exist, as a stack of its own.

    The stack is named after the context. A PULUMI_BACKEND_URL that is set is used; otherwise the
    state lies beside that of the one-machine clusters.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", context.split("/")[-1])[:40] or "existing"
    if name == "dev":
        name = "dev-existing"
    first: dict[str, Any] = {
        f"{key}.{part}": None
        for key in ("gateway", "mlflow", "prometheus")
        for part in ("node_port", "url", "allow_from")
    }
    first |= {
        "context": context,
        "registry": registry,
        "builder": None,
        "gateway.service_type": "LoadBalancer",
        "mlflow.service_type": "ClusterIP",
        "prometheus.service_type": "ClusterIP",
    }
    places = {"context": context, "registry": registry}
    return Target(name, _environment(state_root() / "existing" / "pulumi"), places, first)


def tools_environment() -> dict[str, str]:
    """Where the tools and Pulumi's plugins are, and how they behave, for every stack."""
    bin_dirs = [str(toolkit.LINKS / "bin"), str(PROJECT / ".venv/bin")]
    rest = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part not in bin_dirs]
    return {
        "PATH": os.pathsep.join(bin_dirs + rest),
        "PULUMI_HOME": str(cache_dir() / "pulumi"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # What a killed update had created belongs to a manager of fields that nobody is any more,
        # and the first change of one of them would be refused. The configuration wins.
        "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
        # MLflow's client would else be sent to the bucket itself, which only the server reaches.
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    }


def _environment(state: Path) -> dict[str, str]:
    """What Pulumi needs, and nothing of an ambient account: its own home, state and passphrase."""
    environment = tools_environment()
    passphrase = state_root() / "passphrase"
    if "PULUMI_BACKEND_URL" not in os.environ or _is_ours(os.environ["PULUMI_BACKEND_URL"]):
        environment["PULUMI_BACKEND_URL"] = f"file://{state}"
    if "PULUMI_CONFIG_PASSPHRASE" not in os.environ:
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase)
    return environment


def _is_ours(url: str) -> bool:
    # Set by `eval "$(make env)"` of another instance, not by the user.
    return url.startswith(f"file://{state_root()}/")


def prepare(target: Target) -> None:
    """Make the directories, the passphrase and the plugin links that the environment names."""
    backend = target.environment.get("PULUMI_BACKEND_URL", "")
    if backend.startswith("file://"):
        Path(backend.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    passphrase = state_root() / "passphrase"
    if not passphrase.exists():
        passphrase.parent.mkdir(parents=True, exist_ok=True)
        write_private(passphrase, secrets.token_urlsafe(32).encode())
    link_plugins()


def link_plugins() -> None:
    """Put the plugins where the Pulumi of `environment` looks for them."""
    for name, (version, tool) in PLUGINS.items():
        plugin = f"pulumi-resource-{name}"
        toolkit.link(
            cache_dir() / "pulumi/plugins" / f"resource-{name}-v{version}" / plugin,
            tools.tool_directory(tool) / "bin" / plugin,
        )


def up(target: Target) -> None:
    """Bring the stack to its configuration, going on where a killed update stopped.

    Raises:
        UserError: the update failed; Pulumi has printed why.
    """
    _check_context(target)
    prepare(target)
    mend(target)
    _select(target)
    _configure(target)
    _recover(target)
    command = ["pulumi", "up", "--yes", "--skip-preview", "--stack", target.stack]
    if not sys.stdout.isatty():
        command += ["--non-interactive", "--suppress-progress", "--color", "never"]
    if not _succeeds(target, command):
        for line in pod_faults(_pods(target)):
            say(f"  {line}")
        raise UserError(
            "pulumi up failed, for the reason above; mend it and run the same command again"
        )


def _succeeds(target: Target, command: list[str]) -> bool:
    """Run Pulumi, which prints by itself; where it fails, add what is known of its errors."""
    with tempfile.TemporaryDirectory(prefix="slipway-update-") as folder:
        log = Path(folder) / "events"
        # The log of events is for those who build on Pulumi, as its Automation API does.
        environment = {**os.environ, **target.environment, "PULUMI_DEBUG_COMMANDS": "true"}
        done = subprocess.run(
            [*command, "--event-log", str(log)], cwd=PROJECT, env=environment, check=False
        )
        if done.returncode and log.exists():
            for hint in known_errors.hints(_errors(log.read_text(errors="replace"))):
                say(f"  {hint}")
        return done.returncode == 0


def _errors(log: str) -> str:
    """What a log of Pulumi's events has of errors and warnings."""
    found = []
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line).get("diagnosticEvent") or {}
            if said.get("severity") in ("error", "warning"):
                found.append(str(said.get("message")))
    return "\n".join(found)


def pod_faults(pods: list[dict[str, Any]]) -> list[str]:
    """What the containers that failed said last, a line each: Pulumi shows no init container's."""
    lines = []
    for pod in pods:
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        status = pod.get("status", {})
        kinds = ("initContainerStatuses", "containerStatuses")
        for container in [entry for kind in kinds for entry in status.get(kind, [])]:
            for state in (container.get("state", {}), container.get("lastState", {})):
                ended = state.get("terminated")
                if ended and ended.get("exitCode"):
                    said = (ended.get("message") or ended.get("reason") or "").strip()
                    last = said.splitlines()[-1] if said else "no message"
                    lines.append(f"pod {name}, container {container['name']}: {last}")
                    break
    return lines


def _pods(target: Target) -> list[dict[str, Any]]:
    """The pods of the stack's namespaces that run model servers or MLflow; none if unreachable."""
    environment = {**os.environ, **target.environment}
    found: list[dict[str, Any]] = []
    try:
        context = _pulumi(target, "config", "get", "slipway:context", "--stack", target.stack)
    except UserError:
        return found
    for namespace in ("mlflow", "models"):
        command = ["kubectl", "--context", context.strip(), "--namespace", namespace]
        command += ["get", "pods", "--output", "json", "--request-timeout", "5s"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found += json.loads(done.stdout)["items"]
    return found


def destroy(target: Target) -> None:
    """Remove the stack and everything it made.

    Raises:
        UserError: the removal failed; Pulumi has printed why.
    """
    _check_context(target)
    prepare(target)
    mend(target)
    if target.stack not in _stacks(target):
        say(f"  stack {target.stack}: there is none")
        return
    _recover(target)
    command = ["pulumi", "destroy", "--yes", "--skip-preview", "--non-interactive"]
    command += ["--stack", target.stack]
    if not _succeeds(target, command):
        raise UserError("pulumi destroy failed, for the reason above; run the same command again")
    _pulumi(target, "stack", "rm", "--yes", "--preserve-config", target.stack)


def outputs(target: Target) -> dict[str, Any]:
    """The stack's outputs."""
    text = _pulumi(target, "stack", "output", "--json", "--stack", target.stack)
    result: dict[str, Any] = json.loads(text)
    return result


def _pulumi(target: Target, *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["pulumi", *arguments, "--non-interactive"],
        cwd=target.directory,
        env={**os.environ, **target.environment},
        input=stdin or "",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"pulumi {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout


def _stacks(target: Target) -> list[str]:
    return [entry["name"] for entry in json.loads(_pulumi(target, "stack", "ls", "--json"))]


def _check_context(target: Target) -> None:
    """Refuse a stack file that belongs to another context: its state is another cluster's."""
    file = PROJECT / f"Pulumi.{target.stack}.yaml"
    wanted = target.settings.get("context")
    if not wanted or not file.exists():
        return
    found = (yaml.safe_load(file.read_text()).get("config") or {}).get("slipway:context")
    if found != wanted:
        raise UserError(
            f"CONTEXT: {file.name} is of context {found!r}, not {wanted!r}; rename one of the "
            "contexts (kubectl config rename-context), so that each has a stack of its own"
        )


def _select(target: Target) -> None:
    """Select the stack, made if need be."""
    if target.stack != "dev" and not (PROJECT / f"Pulumi.{target.stack}.yaml").exists():
        _copy_configuration(target)
    if target.stack not in _stacks(target):
        _pulumi(target, "stack", "init", target.stack)
    _pulumi(target, "stack", "select", target.stack)


def _copy_configuration(target: Target) -> None:
    """Give a new stack the configuration of `dev`, less what is encrypted for `dev`.

    The file appears whole or not at all.
    """
    content = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())
    config = {
        key: as_object(value)
        for key, value in content["config"].items()
        if not (isinstance(value, dict) and "secure" in value)
    }
    for path, value in target.first.items():
        top, _, rest = path.partition(".")
        section, key = (config[f"slipway:{top}"], rest) if rest else (config, f"slipway:{top}")
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value
    file = PROJECT / f"Pulumi.{target.stack}.yaml"
    partial = file.with_suffix(".partial")
    partial.write_text(yaml.safe_dump({"config": config}, sort_keys=False))
    partial.replace(file)


def _configure(target: Target) -> None:
    """Write what belongs to the place where it differs, and the bucket's keys where they lack."""
    raw = json.loads(_pulumi(target, "config", "--json", "--stack", target.stack))
    have: dict[str, Any] = {
        key.removeprefix("slipway:"): entry.get("objectValue", entry.get("value"))
        or entry.get("secret")
        for key, entry in raw.items()
        if key.startswith("slipway:")
    }
    for path, value in target.settings.items():
        top, _, rest = path.partition(".")
        found = as_object(have.get(top))
        current = found.get(rest) if rest and isinstance(found, dict) else found
        where = ["--path", f"slipway:{path}", "--stack", target.stack]
        if rest and current != value and found is not have.get(top):
            # An object in JSON, in whose place Pulumi would put one with this key alone.
            changed = {**found, rest: value}
            have[top] = json.dumps(
                {key: changed[key] for key in changed if changed[key] is not None}
            )
            _pulumi(target, "config", "set", f"slipway:{top}", have[top], *where[2:])
        elif value is None and current is not None:
            _pulumi(target, "config", "rm", *where)
        elif value is not None and current != value:
            _pulumi(target, "config", "set", *where, str(value))
    grafana = as_object(have.get("grafana"))
    shown = isinstance(grafana, dict) and bool(grafana.get("enabled"))
    for key, size, wanted in (
        ("bucketAccessKey", 15, True),
        ("bucketSecretKey", 30, True),
        ("grafanaPassword", 15, shown),
    ):
        if wanted and not have.get(key):
            # On standard input: an argument would show in the process list.
            _pulumi(
                target,
                *("config", "set", "--secret", f"slipway:{key}", "--stack", target.stack),
                stdin=secrets.token_hex(size),
            )


def _recover(target: Target) -> None:
    recover(target, lambda line: say(f"  {line}"))


def locks(target: Target) -> list[Path]:
    """The locks of the stack's updates, of processes that live and that were killed; none where
    the state is in no directory of this machine.
    """
    state = _state(target)
    return sorted((state / "locks").glob(f"**/slipway/{target.stack}/*.json")) if state else []


def mend(target: Target) -> None:
    """Make the state readable again after an update that was killed while it wrote; nothing where
    the state is in no directory of this machine.

    Pulumi writes each file of it whole or not at all, but not the file beside it that holds its
    content type, and reads nothing whose is empty. Without one, it is as if there were no type.
    """
    state = _state(target)
    for file in state.glob("**/*.attrs") if state else ():
        with contextlib.suppress(FileNotFoundError):
            # One that is being written is empty for a moment.
            if file.stat().st_size == 0 and _stays_empty(file):
                file.unlink()


def _stays_empty(file: Path) -> bool:
    time.sleep(0.5)
    return file.stat().st_size == 0


def _state(target: Target) -> Path | None:
    backend = target.environment.get("PULUMI_BACKEND_URL", "")
    if not backend.startswith("file://"):
        return None
    return Path(backend.removeprefix("file://").partition("?")[0]).expanduser() / ".pulumi"


def recover(target: Target, log: Callable[[str], None]) -> None:
    """Free a lock whose holder was killed, and take up what it had begun to create.

    `log` is told, in a line, of what is taken up.

    Raises:
        StackLockedError: another process, of this host or another one, updates the stack.
        UserError: what was begun cannot be taken up; Pulumi's or kubectl's reason.
    """
    if _state(target) is None:
        return
    mend(target)
    for lock in locks(target):
        try:
            content = json.loads(lock.read_text())
        except FileNotFoundError:  # released since
            continue
        except ValueError:  # cut off while it was written
            content = {}
        pid, host = content.get("pid", 0), content.get("hostname", socket.gethostname())
        if host != socket.gethostname():
            raise StackLockedError(
                f"stack {target.stack}: locked by process {pid} of {host}; wait for it to end, or "
                f"if it was killed: pulumi cancel {target.stack}"
            )
        if _is_pulumi(pid):
            raise StackLockedError(
                f"stack {target.stack}: process {pid} is updating it; wait for it to end"
            )
        log(f"stack {target.stack}: an earlier update was killed; taking up from there")
        lock.unlink(missing_ok=True)
    state = json.loads(_pulumi(target, "stack", "export", "--stack", target.stack))
    pending = (state.get("deployment") or {}).get("pending_operations") or []
    for operation in pending:
        resource = operation.get("resource", {})
        if resource.get("type") == "kubernetes:helm.sh/v3:Release":
            _forget_release(target, operation.get("type", ""), resource.get("inputs", {}))
    if pending:
        _pulumi(
            target,
            *("refresh", "--yes", "--skip-preview", "--clear-pending-creates"),
            *("--stack", target.stack),
        )


def _is_pulumi(pid: int) -> bool:
    try:
        return node.alive(pid) and Path(f"/proc/{pid}/comm").read_text().startswith("pulumi")
    except OSError:  # ended since
        return False


def _forget_release(target: Target, operation: str, inputs: dict[str, Any]) -> None:
    """Remove Helm's record of a release whose installation was killed, or it refuses the next.

    The plugin may live to finish an installation that Pulumi no longer hears of, so while a release
    is being created even a finished one goes; of one being updated, what is deployed stays.

    What the release had made already carries Helm's marks, so the next installation adopts it.
    """
    name, namespace = inputs.get("name"), inputs.get("namespace")
    if not name or not namespace:
        return
    kept = "" if operation == "creating" else ",status!=deployed,status!=superseded"
    context = _pulumi(target, "config", "get", "slipway:context", "--stack", target.stack).strip()
    done = subprocess.run(
        ["kubectl", "--context", context, "--namespace", namespace, "delete", "secret"]
        + ["--selector", f"owner=helm,name={name}{kept}"],
        env={**os.environ, **target.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"chart {namespace}/{name}: {done.stderr.strip()}")
