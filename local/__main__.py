"""The commands behind the Makefile: up, down, env, tools, status."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from local import instance as instances
from local import node, on_aws, tools, venv
from local.console import UserError, format_seconds, run_cli, say

if TYPE_CHECKING:
    from local import stack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "env", "tools", "status"))
    parser.add_argument("--context", default="", help="a kubeconfig context that exists")
    parser.add_argument("--registry", default="", help="a registry that context can pull from")
    parser.add_argument("--stack", default="", help="whose environment; by default that of dev")
    parser.add_argument(
        "--aws", action="store_true", help="tools: without a stack, those of one on AWS alone"
    )
    arguments = parser.parse_args()
    if bool(arguments.context) != bool(arguments.registry):
        given, missing = ("CONTEXT", "REGISTRY") if arguments.context else ("REGISTRY", "CONTEXT")
        raise UserError(
            f"{missing}: missing beside {given}; give both, as in "
            "make up CONTEXT=kind-kind REGISTRY=localhost:5001"
        )
    aws = arguments.stack not in ("", "dev") and on_aws.is_on_aws(arguments.stack)
    if aws and arguments.command in ("up", "down"):
        raise UserError(
            f"make {arguments.command}: is not for {arguments.stack}, which is on AWS: "
            f"`make preview STACK={arguments.stack}` first, then "
            f"`pulumi {arguments.command.replace('down', 'destroy')} --stack {arguments.stack}`"
        )
    existing = bool(arguments.context) or aws or (arguments.aws and arguments.command == "tools")
    if existing:
        _leave_the_one_machine()
    if arguments.command == "env":
        if not venv.venv_python().exists():
            raise UserError("make env: nothing is installed yet; run `make up` first")
        _in_venv({}, time.monotonic())
        _env(arguments.context, arguments.registry, aws)
        return
    if arguments.command == "down" and not existing:
        # Needs none of the other tools, so it works on a half-made checkout too.
        venv.ensure_venv()
        _in_venv({}, time.monotonic())
        from local import cluster

        chosen = instances.load()
        found = cluster.down(chosen)
        say(f"  cluster {chosen.name}: {'removed' if found else 'there was none'}")
        return
    start = time.monotonic()
    times: dict[str, float] = {}
    if arguments.command == "up" and not existing and not node.is_running(instances.load()):
        node.check(instances.load())
    made = tools.install(cluster=not existing)
    if made:
        times["tools"] = time.monotonic() - start
    elif os.environ.get("SLIPWAY_PROCESS") != str(os.getpid()):
        say("  tools: all there")
    if arguments.command == "tools":
        return
    _in_venv(times, start)
    {"up": _up, "down": _down_existing, "status": _status}[arguments.command](
        arguments.context, arguments.registry
    )


def _in_venv(times: dict[str, float], start: float) -> None:
    """Go on in the virtual environment, in the same process, once it exists."""
    if os.environ.get("SLIPWAY_PROCESS") != str(os.getpid()):
        # Kept over the exec below, which keeps the process, and not inherited by another.
        os.environ["SLIPWAY_PROCESS"] = str(os.getpid())
        os.environ["SLIPWAY_STARTED"] = str(time.time() - (time.monotonic() - start))
        os.environ["SLIPWAY_TOOLS_SECONDS"] = str(times.get("tools", 0))
    if sys.prefix == str(venv.VENV):
        return
    python = str(venv.venv_python())
    os.execv(python, [python, "-m", "local", *sys.argv[1:]])


def _leave_the_one_machine() -> None:
    """Forget what `eval "$(make env)"` of a one-machine cluster has set in this shell."""
    for name in ("KUBECONFIG", "DOCKER_CONFIG"):
        if os.environ.get(name, "").startswith(f"{instances.state_root()}/"):
            del os.environ[name]


def _target(context: str, registry: str) -> stack.Target:
    from local import stack

    if context:
        return stack.on_existing(context, registry)
    return stack.on_one_machine(instances.load())


def _up(context: str, registry: str) -> None:
    from local import cluster, smoke, stack
    from local.console import step

    times: dict[str, float] = {}
    tools_seconds = float(os.environ.get("SLIPWAY_TOOLS_SECONDS", 0))
    if tools_seconds:
        times["tools"] = tools_seconds
    if not context:
        cluster.up(instances.load(), times)
    target = _target(context, registry)
    with step("stack: pulumi up", times):
        stack.up(target)
    os.environ.update(target.environment)
    outputs = stack.outputs(target)
    with step("predictions", times):
        smoke.run(outputs, context or "slipway")
    say("")
    for name in ("gateway_url", "mlflow_url", "prometheus_url", "grafana_url"):
        if url := outputs.get(name):
            inside = " (inside the cluster only)" if ".svc.cluster.local" in url else ""
            say(f"  {name.removesuffix('_url'):<11} {url}{inside}")
    total = time.time() - float(os.environ["SLIPWAY_STARTED"])
    steps = ", ".join(f"{name} {format_seconds(value)}" for name, value in times.items())
    say(f"\n  up in {format_seconds(total)} ({steps})")
    say('  next: eval "$(make -s env)" gives this shell pulumi and kubectl')


def _down_existing(context: str, registry: str) -> None:
    from local import stack

    stack.destroy(_target(context, registry))


def _status(context: str, registry: str) -> None:
    from local import cluster

    chosen = instances.load()
    running = node.is_running(chosen)
    say(f"  cluster {chosen.name}: {'running' if running else 'not running'}")
    if running:
        say(cluster.kubectl(chosen, "get", "pods", "--all-namespaces"))


def _env(context: str, registry: str, aws: bool) -> None:
    from local import stack

    # Whoever only looks has not run `up`, which links them too.
    stack.link_plugins()
    found: Mapping[str, str | None] = _target(context, registry).environment
    if aws:
        found = on_aws.environment(stack.tools_environment())
    for name, value in found.items():
        print(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    run_cli(main)
