"""Where Pulumi's view of a resource becomes the rules' view, and their findings its diagnostics."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi_policy as pp
from pulumi_policy import policy as internals
from pulumi_policy import proxy

from engine import journal
from engine.resource import Resource
from engine.rule import Finding, Rule, Undecided, Violation
from engine.values import Unknown

_PLAIN = (str, int, float, bool, type(None))


def policies(rules: Sequence[Rule]) -> list[pp.Policy]:
    """Pulumi's policies of these rules. From here on, a configuration that names what there is not
    fails the run.
    """
    _write_at_once()
    _refuse_unknown_names(rules)
    return [_policy(rule) for rule in rules]


def _write_at_once() -> None:
    # The library prints its port and leaves it in a buffer (where PYTHONUNBUFFERED is not set),
    # for which Pulumi then waits without end.
    raw = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(raw, write_through=True)


def _policy(rule: Rule) -> pp.Policy:
    told: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": pp.EnforcementLevel(rule.level),
        "config_schema": pp.PolicyConfigSchema({k: dict(v) for k, v in rule.knobs.items()})
        if rule.knobs
        else None,
        "display_name": rule.title,
        "severity": pp.Severity(rule.severity),
        "remediation_steps": rule.remediation,
        "url": rule.references[0],
    }

    def one(args: pp.ResourceValidationArgs, report: pp.ReportViolation) -> None:
        provider = args.provider.props if args.provider else {}
        seen = Resource(
            args.urn,
            args.resource_type,
            args.name,
            plain(args.props),
            args.opts.protect,
            provider=plain(provider),
        )
        _tell(rule, rule.judge([seen], args.get_config(), journal.decided), report)

    def all_(args: pp.StackValidationArgs, report: pp.ReportViolation) -> None:
        seen = [_of_stack(each) for each in args.resources]
        _tell(rule, rule.judge(seen, args.get_config(), journal.decided), report)

    if rule.stack_check:
        return pp.StackValidationPolicy(validate=all_, **told)
    return pp.ResourceValidationPolicy(validate=one, **told)


def _of_stack(found: pp.PolicyResource) -> Resource:
    return Resource(
        found.urn,
        found.resource_type,
        found.name,
        plain(found.props or {}),
        found.opts.protect,
        used={
            key: [each.urn for each in them] for key, them in found.property_dependencies.items()
        },
        provider=plain(found.provider.props) if found.provider else {},
    )


def plain(value: Any, path: str = "") -> Any:
    """Plain data of what Pulumi hands over, with `Unknown` where a preview does not know. What is
    neither, such as an archive, is left out.
    """
    if isinstance(value, proxy._DictProxy | proxy._ListProxy):
        value = value["__target"]  # past the guard, which would end the whole rule
    if proxy._is_unknown(value):
        return Unknown(path)
    if isinstance(value, Mapping):
        return {key: plain(item, f"{path}.{key}".removeprefix(".")) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return value if isinstance(value, _PLAIN) else None


def _tell(rule: Rule, findings: Iterable[Finding], report: pp.ReportViolation) -> None:
    """Report violations at the rule's level, then what is not yet decidable: that is never a
    violation and never a pass, so it is advisory at every level.
    """
    open_: list[Undecided] = []
    for finding in findings:
        if isinstance(finding, Violation):
            report(finding.message, finding.urn)
        else:
            open_.append(finding)
    if open_:
        # The one way to an advisory diagnostic of a mandatory policy.
        unknown = proxy.UnknownValueError(proxy.UNKNOWN_OBJECT_VALUE, [])
        lines = dict.fromkeys(f"{each.urn.rpartition('::')[2]}: {each.message}" for each in open_)
        unknown.message = "not yet decidable, so not passed: " + "; ".join(lines)
        raise unknown


def _refuse_unknown_names(rules: Sequence[Rule]) -> None:
    """Pulumi leaves out, without a word, the configuration of a policy that there is not."""
    servicer = internals._PolicyAnalyzerServicer
    configure = servicer.Configure
    known = {rule.name: rule for rule in rules}

    def strict(self: Any, request: Any, context: Any) -> Any:
        for name, told in request.policyConfig.items():
            if name != "all" and name not in known:
                raise ValueError(f"policy configuration: there is no policy {name}")
            for knob in told.properties.fields if name == "all" else ():
                raise ValueError(f"policy configuration: all: there is no knob {knob}")
            if name in known:
                known[name].refuse_unknown(told.properties.fields)
        return configure(self, request, context)

    servicer.Configure = strict
