"""What a preview means for each model: who gets which share of its requests, and what becomes of
its pods. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from review import sleep
from review.pods import Workload, raised, restarts, total
from review.preview import Step
from review.roles import Model, Scaling, before_and_after, by_model, version_of
from review.words import Data, Line, count, joined, listed

_KINDS = {
    "HorizontalPodAutoscaler": "by CPU and memory alone",
    "ScaledObject": "by requests a second too (KEDA)",
}


def of_models(steps: Iterable[Step], workloads: Iterable[Workload]) -> list[Line]:
    """A sentence for each model that something happens to, in the order of their names."""
    running = {one.step.urn: one for one in workloads}
    listed_steps = list(steps)
    waits = sleep.waits(listed_steps)
    lines: list[Line] = []
    for name, own in by_model(listed_steps).items():
        old, new = before_and_after(name, own)
        pods = [running[step.urn] for step in own if step.urn in running]
        if any(step.changes for step in own):
            said = [*_roles(old, new), *_scaling(name, old, new, waits), *_pods(pods)]
            lines.append((Data(name), ": ", *joined(said)))
    return lines


def _roles(old: Model | None, new: Model | None) -> list[Line]:
    """Who was what and who is to be what."""
    if new is None or (old and old.routed and not new.routed):
        return [("is removed; its route answers no more",)]
    if not new.routed and not (old and old.routed):
        # Its route is not in this preview, so nothing is known of its roles.
        return []
    if new.routed and new.stable is None:
        return [("its route is known only during the update",)]
    if old is None or not old.routed:
        said: list[Line] = [(f"new model; version {new.stable} is stable",)]
        return [*said, *_canary(None, new), *_shadow(None, new), *_sticky(None, new)]
    said = []
    if new.stable != old.stable:
        said += _stable(old, new)
        left = old.canary if new.stable != old.canary else None
        if new.canary is not None:
            # One that stays canary, or gives way to another, does so beside a new stable too.
            said += _canary(old if left is not None else None, new)
        elif left is not None:
            said.append((f"canary {left} goes",))
    elif old.canary is not None and new.canary is None:
        said.append(
            (
                f"canary {old.canary} goes, it had {old.weight} % of traffic; "
                f"stable {new.stable} takes all",
            )
        )
    else:
        said += _canary(old, new)
    kept = sorted({*new.previous} - {*old.previous})
    for word, versions in (
        ("stays", [version for version in kept if version in old.servers]),
        ("is kept", [version for version in kept if version not in old.servers]),
    ):
        if versions:
            said.append((f"version {listed(versions)} {word} warm without traffic",))
    gone = sorted({*old.previous} - set(new.servers))
    if gone:
        said.append((f"version {listed(gone)}, which had no traffic, goes",))
    return [*said, *_shadow(old, new), *_sticky(old, new)]


def _stable(old: Model, new: Model) -> list[Line]:
    if old.canary is not None and new.stable == old.canary:
        return [
            (
                f"version {new.stable} is promoted: from canary with {old.weight} % of traffic "
                f"to stable, in place of {old.stable}",
            )
        ]
    if new.stable in old.previous:
        return [(f"goes back: version {new.stable}, kept warm, replaces {old.stable} as stable",)]
    return [(f"version {new.stable} replaces {old.stable} as stable at once, without a canary",)]


def _canary(old: Model | None, new: Model) -> list[Line]:
    if new.canary is None:
        return []
    before = old.canary if old else None
    if before is None:
        return [(f"version {new.canary} becomes canary with {new.weight} % of traffic",)]
    was = old.weight if old else 0
    if before == new.canary:
        if was == new.weight:
            return []
        return [(f"canary {new.canary} goes from {was} % to {new.weight} % of traffic",)]
    share = f" at {new.weight} % of traffic"
    if was != new.weight:
        share = f", with {new.weight} % of traffic instead of {was} %"
    return [(f"version {new.canary} replaces {before} as canary{share}",)]


def _shadow(old: Model | None, new: Model) -> list[Line]:
    before, after = old.shadow if old else None, new.shadow
    if before == after:
        return []
    if after is None:
        return [(f"shadow{_number(before)} goes",)]
    share = f"a copy of {after[1]} % of requests"
    if before is None:
        return [(f"version{_number(after)} becomes shadow and gets {share}",)]
    if before[0] == after[0]:
        return [(f"shadow{_number(after)} gets {share} instead of {before[1]} %",)]
    return [(f"version{_number(after)} replaces{_number(before)} as shadow and gets {share}",)]


def _number(shadow: tuple[int | None, int] | None) -> str:
    return f" {shadow[0]}" if shadow and shadow[0] is not None else ""


def _sticky(old: Model | None, new: Model) -> list[Line]:
    before = bool(old and old.sticky)
    # Without a canary there is nothing to stick to, and the route does not say.
    if before == new.sticky or (old and (old.canary is None or new.canary is None)):
        return []
    return [
        (
            "clients keep their version (sticky)"
            if new.sticky
            else "clients keep their version no more (sticky is off)",
        )
    ]


def _scaling(
    name: str, old: Model | None, new: Model | None, waits: tuple[sleep.Waits, sleep.Waits]
) -> list[Line]:
    """What autoscalers are told, of versions that stay, and which new ones may sleep; those of
    which the same is told together.
    """
    said: dict[Line, list[int]] = {}
    for version, after in (new.servers if new else {}).items():
        if after is None:
            continue
        before = old.servers.get(version) if old else None
        was, will = (told.get(f"{name}-v{version}") for told in waits)
        if before is not None:
            line = _scaled(before, after, sleep.changes(before, after, was, will))
        else:
            known = old is not None and version in old.servers
            text = "" if known else sleep.begins(after, will)
            line = (text,) if text else ()
        if line:
            said.setdefault(line, []).append(version)
    return [
        (f"version {listed(versions)}: " if len(versions) == 1 else
         f"versions {listed(versions)}: ", *line)
        for line, versions in said.items()
    ]  # fmt: skip


def _scaled(old: Scaling, new: Scaling, asleep: list[Line]) -> Line:
    parts: list[Line] = []
    if old.kind != new.kind:
        parts.append((f"scaled {_KINDS[new.kind]}, no longer {_KINDS[old.kind]}",))
    parts += asleep
    if old.least != new.least and old.idle is None and new.idle is None:
        parts.append((f"at least {count(new.least, 'pod')} instead of {old.least}",))
    if old.most != new.most:
        parts.append((f"at most {count(new.most, 'pod')} instead of {old.most}",))
    for target in sorted({*old.targets, *new.targets}):
        before, after = old.targets.get(target), new.targets.get(target)
        if before == after:
            continue
        told: Line = (
            "a pod is to bear ",
            Data(f"{after} {'of ' * ('%' in (after or ''))}{target}"),
        )
        if after is None:
            told = ("no longer scaled by ", Data(target))
        elif before is not None:
            told = (*told, " instead of ", Data(before))
        parts.append(told)
    return joined(parts, ", ")


def _pods(pods: list[Workload]) -> list[Line]:
    said: list[Line] = []
    restarting = [one for one in pods if one.fate == "restarts"]
    alike: dict[str, list[int]] = {}
    for one in restarting:
        version = version_of(one.step)
        if version is None:
            said.append((f"comparer: {restarts(one)}",))
        else:
            alike.setdefault(restarts(one), []).append(version)
    for text, versions in alike.items():
        each = "version" if len(versions) == 1 else "each of versions"
        said.append((f"{each} {listed(versions)}: {text}",))
    if moved := total(pods):
        said.append((moved,))
    if more := raised(pods):
        said.append((more,))
    if not restarting and not any(one.fate in ("comes", "goes") for one in pods):
        said.append(("no pod restarts",))
    elif not restarting and any(one.fate == "stays" for one in pods):
        said.append(("no other pod restarts",))
    return said
