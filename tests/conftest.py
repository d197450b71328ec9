"""Recording mocks: a Pulumi engine that creates nothing and remembers everything."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import hypothesis
import pytest

# How long an example takes is no property of what is tested, and a busy machine is no fault.
hypothesis.settings.register_profile("slipway", deadline=None)
hypothesis.settings.load_profile("slipway")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = (
    "1"  # an Output in an f-string is an error, not a warning
)

from pulumi.runtime import config as runtime_config  # noqa: E402
from pulumi.runtime import mocks, rpc, settings, stack  # noqa: E402

from settings import SECRET_KEYS  # noqa: E402
from tests import aws_mocks  # noqa: E402

DIGEST = "sha256:" + "0" * 64
OF_TARGET = f"sha256:{'c' * 64}"


Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Recorded:
    """A resource as the program registered it, and what came out of it.

    id, outputs: as the mocks made them up. after: what it waits for, all in all; sources: what
    each of its inputs was made from; under: its parent. Those three are by type and name.
    """

    type: str
    name: str
    inputs: dict[str, Any]
    parent: str
    provider: str
    depends_on: tuple[str, ...]
    delete_before_replace: bool
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    timeouts: tuple[str, str]
    secret: frozenset[str]
    aliases: tuple[str, ...]
    protect: bool = False
    retained: bool = False
    after: tuple[Key, ...] = ()
    sources: dict[str, tuple[Key, ...]] = field(default_factory=dict)
    under: Key | None = None
    id: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`Deployment`, out of `kubernetes:apps/v1:Deployment`."""
        return self.type.rsplit(":", 1)[-1]


@dataclass
class Program:
    """What a whole program registered, by type and name."""

    resources: dict[tuple[str, str], Recorded] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def one(self, kind: str, name: str) -> Recorded:
        """The resource of this kind (`Deployment`) and name."""
        found = [r for r in self.resources.values() if r.kind == kind and r.name == name]
        assert len(found) == 1, (
            f"{len(found)} of {kind} {name} among {sorted(r.name for r in self.of(kind))}"
        )
        return found[0]

    def of(self, kind: str) -> list[Recorded]:
        """All resources of this kind."""
        return [r for r in self.resources.values() if r.kind == kind]

    def custom(self) -> list[Recorded]:
        """All resources that a provider would create."""
        return [r for r in self.resources.values() if not r.type.startswith("slipway:")]


class _Echo(mocks.Mocks):
    """Every resource comes out as it went in; what a provider would compute is made up."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "docker-build:index:Image":
            outputs |= {"digest": OF_TARGET if args.inputs.get("target") else DIGEST}
        elif args.typ.startswith("kubernetes:") and "name" not in (outputs.get("metadata") or {}):
            outputs["metadata"] = {
                **(outputs.get("metadata") or {}),
                "name": f"{args.name}-1a2b3c4d",
            }
        if args.typ.startswith("aws:"):
            outputs = aws_mocks.outputs(args.typ, args.name, args.inputs)
        return outputs.pop("id", f"{args.name}-id"), outputs

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(
            f"the program asks a provider for {args.token}: a preview would not be true"
        )


class _Recorder(mocks.MockMonitor):
    """A monitor that keeps what mocks throw away: secrets, dependencies and options."""

    def __init__(self, program: Program) -> None:
        super().__init__(_Echo())
        self.program = program

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        if request.type != "pulumi:pulumi:Stack":
            key = (request.type, request.name)
            assert key not in self.program.resources, f"{key} is registered twice"
            self.program.resources[key] = Recorded(
                type=request.type,
                name=request.name,
                inputs=_plain(rpc.deserialize_properties(request.object)),
                parent=request.parent.rsplit("::", 1)[-1],
                provider=request.provider.rsplit("::", 2)[-2] if request.provider else "",
                depends_on=tuple(sorted(urn.rsplit("::", 1)[-1] for urn in request.dependencies)),
                delete_before_replace=request.deleteBeforeReplace,
                ignore_changes=tuple(request.ignoreChanges),
                replace_on_changes=tuple(request.replaceOnChanges),
                timeouts=(request.customTimeouts.create, request.customTimeouts.update),
                secret=frozenset(_secrets(rpc.deserialize_properties(request.object))),
                aliases=tuple(str(alias) for alias in request.aliases),
                protect=request.protect,
                retained=request.retainOnDelete,
                after=tuple(sorted(map(_key, request.dependencies))),
                sources={
                    name: tuple(sorted(map(_key, made.urns)))
                    for name, made in request.propertyDependencies.items()
                    if made.urns
                },
                under=_key(request.parent) if request.parent else None,
            )
            response = super().RegisterResource(request)
            self.program.resources[key] = replace(
                self.program.resources[key],
                id=response.id,
                outputs=_plain(rpc.deserialize_properties(response.object)),
            )
            return response
        return super().RegisterResource(request)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            self.program.outputs = _plain(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)


def _key(urn: str) -> Key:
    """(type, name), out of `urn:pulumi:stack::project::parent's type$type::name`."""
    _, _, types, name = urn.split("::", 3)
    return types.rsplit("$", 1)[-1], name


def _plain(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return _plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _secrets(value: Any, path: str = "") -> Iterator[str]:
    if rpc.is_rpc_secret(value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _secrets(item, f"{path}[{index}]")


def run(
    program: Callable[[], Any], recorded: Program | None = None, stack: str = "test"
) -> Program:
    """Run a Pulumi program against the recording mocks until nothing is left to do."""
    return contextvars.copy_context().run(
        _run, program, recorded if recorded is not None else Program(), stack
    )


def _run(program: Callable[[], Any], recorded: Program, name: str) -> Program:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mocks.set_mocks(
        _Echo(), project="slipway", stack=name, preview=False, monitor=_Recorder(recorded)
    )
    # What a program that failed left behind belongs to a loop that is gone.
    settings.SETTINGS.rpc_manager.clear()
    settings.SETTINGS.outputs.clear()
    settings.ROOT.set(
        None
    )  # set_mocks makes a stack of its own; this program has its own, with outputs
    try:
        loop.run_until_complete(stack.run_in_stack(lambda: program() and None))
    finally:
        loop.close()
    return recorded


CONTEXT = {"context": "test", "registry": "registry.test:5000", "istio": {"charts": "charts/istio"}}
SECRETS = {"bucketAccessKey": "AKIA-of-the-tests", "bucketSecretKey": "the-secret-of-the-tests"}


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Program]:
    """Run `__main__.py` itself with these configuration keys, beside CONTEXT and SECRETS."""
    import preflight

    def run_main(into: Program | None = None, **configuration: Any) -> Program:
        values = {**CONTEXT, **SECRETS, **configuration}
        stored = {
            f"slipway:{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
            if value is not None
        }
        secret = [f"slipway:{key}" for key in SECRET_KEYS if key in values]
        runtime_config.set_all_config(stored, secret)
        return run(lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"), into)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(preflight, "check", lambda *_: None)
    return run_main
