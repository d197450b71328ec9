"""AWS WAF in front of an Application Load Balancer.

https://docs.aws.amazon.com/waf/latest/developerguide/web-acl.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.wafv2.web_acl import WebAcl
from pulumi_aws.wafv2.web_acl_association import WebAclAssociation
from pulumi_aws.wafv2.web_acl_logging_configuration import WebAclLoggingConfiguration

from settings.aws.entrance import Waf

from .options import child

# AWS writes to groups whose name begins with it alone.
LOG_PREFIX = "aws-waf-logs-"
WINDOW_SECONDS = 300


@dataclass(frozen=True)
class FirewallArgs:
    """settings: the rules. prefix: of the stack's names. balancer_arn: what it stands before."""

    settings: Waf
    prefix: str
    balancer_arn: pulumi.Input[str]


class Firewall(pulumi.ComponentResource):
    """A web ACL, its place before the balancer, and its log of what it stopped.

    The log has no header with credentials. Who asks too often is told so (429).
    """

    def __init__(
        self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Firewall", name, None, opts)
        acl = WebAcl(
            f"{name}-acl",
            scope="REGIONAL",
            default_action={"allow": {}},
            rules=rules(args.settings),
            visibility_config=_seen("firewall"),
            opts=child(self),
        )
        log = LogGroup(
            f"{name}-log",
            name=f"{LOG_PREFIX}{args.prefix}",
            retention_in_days=args.settings.log_days,
            opts=child(self, fixed_name=True),
        )
        WebAclLoggingConfiguration(
            f"{name}-logging",
            resource_arn=acl.arn,
            log_destination_configs=[log.arn],
            redacted_fields=[
                {"single_header": {"name": header}} for header in ("authorization", "cookie")
            ],
            logging_filter={
                "default_behavior": "DROP",
                "filters": [
                    {
                        "behavior": "KEEP",
                        "requirement": "MEETS_ANY",
                        "conditions": [
                            {"action_condition": {"action": action}}
                            for action in ("BLOCK", "COUNT")
                        ],
                    }
                ],
            },
            opts=child(self),
        )
        WebAclAssociation(
            f"{name}-association",
            resource_arn=args.balancer_arn,
            web_acl_arn=acl.arn,
            opts=child(self),
        )
        self.register_outputs({})


def rules(settings: Waf) -> list[Any]:
    """The rules as a WebAcl takes them: the limit first, for it is cheapest."""
    found: list[dict[str, Any]] = []
    if settings.rate_limit is not None:
        found.append(
            {
                "name": "rate-limit",
                "action": {"block": {"custom_response": {"response_code": 429}}},
                "statement": {
                    "rate_based_statement": {
                        "limit": settings.rate_limit,
                        "aggregate_key_type": "IP",
                        "evaluation_window_sec": WINDOW_SECONDS,
                    }
                },
            }
        )
    # AWS passes over the name of a rule that a group does not have.
    counted = [
        {"name": rule, "action_to_use": {"count": {}}} for rule in sorted(set(settings.counted))
    ]
    found += [
        {
            "name": group,
            "override_action": {"none": {}},
            "statement": {
                "managed_rule_group_statement": {
                    "name": group,
                    "vendor_name": "AWS",
                    **({"rule_action_overrides": counted} if counted else {}),
                }
            },
        }
        for group in settings.managed
    ]
    return [
        {**rule, "priority": priority, "visibility_config": _seen(rule["name"])}
        for priority, rule in enumerate(found)
    ]


def _seen(metric: str) -> Any:
    # A sample holds whole requests, what they ask a model included.
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": False,
    }
