"""What `pulumi preview --json` prints, and the findings of policies in its log of events. Pure.

Source of the shapes: Pulumi's `display.PreviewDigest` and `apitype.EngineEvent`. The digest itself
holds no findings, so they come from the log that `--event-log` writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET: Final = "[secret]"  # noqa: S105
# The other kinds of values that are not known before the update: assets, lists, maps.
_UNKNOWN_KINDS: Final = frozenset(
    {
        UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
REPLACING: Final = frozenset({"replace", "create-replacement", "delete-replaced"})
SEVERITIES: Final = ("critical", "high", "medium", "low", "")

Properties = Mapping[str, Any]


class PreviewError(Exception):
    """What was given is no preview; the message is one line."""


@dataclass(frozen=True)
class State:
    """A resource as it is or as it is to be; depends: the URNs that its inputs come from."""

    inputs: Properties = field(default_factory=dict)
    parent: str = ""
    protect: bool = False
    retained: bool = False
    depends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """What happens to one resource.

    op: as Pulumi calls it; a replacement is `replace` alone. paths: of the properties that change.
    reasons: the properties that make a replacement necessary.
    """

    op: str
    urn: str
    old: State | None = None
    new: State | None = None
    paths: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """`kubernetes:apps/v1:Deployment`."""
        return self._types.rsplit("$", 1)[-1]

    @property
    def kind(self) -> str:
        """`Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.split("::", 3)[-1]

    @property
    def _types(self) -> str:
        return self.urn.split("::", 3)[2]

    @property
    def state(self) -> State:
        """What is to be; of what goes, what was."""
        return self.new or self.old or State()

    @property
    def changes(self) -> bool:
        """Whether anything happens to the resource."""
        return self.op not in ("same", "read", "refresh")

    @property
    def component(self) -> bool:
        """Whether it only groups others: no provider has it."""
        return self.type == "pulumi:pulumi:Stack" or self.type.startswith("slipway:")


@dataclass(frozen=True)
class Finding:
    """What a policy objects to.

    severity: one of SEVERITIES. mandatory: the update is refused.
    """

    policy: str
    message: str
    severity: str = ""
    mandatory: bool = False
    urn: str = ""


@dataclass(frozen=True)
class Preview:
    """A preview, its steps in an order that does not depend on what was quicker.

    errors, warnings: what was said, without colours. complete: False if it failed, so that there
    may be more to say than is known. judged: whether any policy was asked at all.
    """

    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    complete: bool = True
    judged: bool = False


def is_unknown(value: Any) -> bool:
    """Whether it is not known before the update."""
    return isinstance(value, str) and value in _UNKNOWN_KINDS


def parse(
    text: str,
    events: Iterable[Mapping[str, Any]] = (),
    *,
    failed: bool = False,
    said: str = "",
) -> Preview:
    """The preview that `text` is, with the findings in `events`. What is not known is passed over.

    failed: Pulumi's exit status said so. said: what it printed to its standard error; it counts
    where `text` does not tell why it failed.

    Raises:
        PreviewError: `text` is no digest of a preview.
    """
    try:
        # Nothing at all is printed by a preview that did not get as far as that.
        digest = json.loads(text) if text.strip() or not failed else {}
    except ValueError as error:
        raise PreviewError(f"not what `pulumi preview --json` prints: {error}") from None
    if not isinstance(digest, dict):
        raise PreviewError("not what `pulumi preview --json` prints: no object")
    steps = [_step(one) for one in _list(digest.get("steps")) if _has_urn(one)]
    told = [_dict(one) for one in _list(digest.get("diagnostics"))]
    errors = [_said(one) for one in told if one.get("severity") == "error"]
    if failed and not errors:
        errors = [_said({"message": said}) or "pulumi did not say why"]
    listed = list(events)
    return Preview(
        steps=tuple(sorted(_whole(steps), key=lambda step: (step.urn, step.op))),
        findings=_findings(listed),
        # Its last words, which say nothing, are left out where others say more.
        errors=tuple(_once(errors, but=("preview failed", "an unhandled error occurred:"))),
        warnings=tuple(_once(_said(one) for one in told if one.get("severity") == "warning")),
        complete=not (failed or errors),
        judged=any(key.startswith("policy") for event in listed for key in _dict(event)),
    )


def read_events(lines: Iterable[str]) -> list[Mapping[str, Any]]:
    """The events in the lines of a log; a line that is not whole yet is passed over."""
    found: list[Mapping[str, Any]] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def _findings(events: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    found = set()
    for event in events:
        said = _dict(_dict(event).get("policyEvent"))
        if not said.get("policyName"):
            continue
        severity = str(said.get("severity") or "").lower()
        found.add(
            Finding(
                policy=str(said["policyName"]),
                message=str(said.get("message") or "").strip(),
                severity=severity if severity in SEVERITIES else "",
                mandatory=said.get("enforcementLevel") == "mandatory",
                urn=str(said.get("resourceUrn") or ""),
            )
        )
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    return tuple(
        sorted(
            found,
            key=lambda one: (not one.mandatory, order[one.severity], one.policy, one.urn),
        )
    )


def _whole(steps: list[Step]) -> list[Step]:
    """One step for each resource: a replacement that comes in parts is one."""
    kept: dict[str, Step] = {}
    for step in steps:
        before = kept.get(step.urn)
        if before is None:
            kept[step.urn] = step
            continue
        first = before if before.op == "replace" else step
        op = "replace" if {before.op, step.op} & REPLACING else first.op
        kept[step.urn] = Step(
            op,
            step.urn,
            before.old or step.old,
            before.new or step.new,
            first.paths or before.paths,
            first.reasons or before.reasons,
        )
    return [
        Step("replace", s.urn, s.old, s.new, s.paths, s.reasons) if s.op in REPLACING else s
        for s in kept.values()
    ]


def _step(raw: Mapping[str, Any]) -> Step:
    old, new = _dict(raw.get("oldState")), _dict(raw.get("newState"))
    op = str(raw.get("op") or "same")
    if op == "same":
        old = new = old or new
    return Step(
        op=op,
        urn=str(raw["urn"]),
        old=_state(old) if old else None,
        # Of what goes Pulumi may name a new state too.
        new=_state(new) if new and op not in ("delete", "delete-replaced") else None,
        paths=tuple(sorted(str(path) for path in _dict(raw.get("detailedDiff")))),
        reasons=tuple(sorted(str(path) for path in _list(raw.get("replaceReasons")))),
    )


def _state(raw: Mapping[str, Any]) -> State:
    return State(
        inputs=_dict(raw.get("inputs")),
        parent=str(raw.get("parent") or ""),
        protect=bool(raw.get("protect")),
        retained=bool(raw.get("retainOnDelete")),
        depends=tuple(str(urn) for urn in _list(raw.get("dependencies"))),
    )


def _said(raw: Mapping[str, Any]) -> str:
    text = str(raw.get("message") or "").strip()
    for prefix in ("error: ", "warning: "):
        text = text.removeprefix(prefix)
    name = str(raw.get("urn") or "").split("::", 3)[-1]
    return f"{name}: {text}" if name else text


def _once(lines: Iterable[str], but: tuple[str, ...] = ()) -> list[str]:
    found = [line for line in dict.fromkeys(lines) if line]
    return [line for line in found if not (but and line.startswith(but))] or found


def _has_urn(raw: Any) -> bool:
    return isinstance(raw, dict) and str(raw.get("urn", "")).count("::") >= 3


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
