"""How requests come to a stack on AWS: names, certificate, balancer, firewall."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.aws.values import neighbour_fault
from settings.faults import fault
from settings.types import Bucket, Cidr, Section, matching

# The longest name that ACM takes as a certificate's first:
# https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html
MAX_DOMAIN = 64
EVERYWHERE = "0.0.0.0/0"
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

Domain = Annotated[
    str,
    matching(
        rf"(?=.{{1,{MAX_DOMAIN}}}$)({_LABEL}\.)+[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?",
        f"is not a DNS name such as models.example.com, of at most {MAX_DOMAIN} characters",
    ),
]
ZoneId = Annotated[
    str,
    matching(r"Z[A-Z0-9]{3,31}", "is not the id of a Route 53 zone, as in Z0123456789ABCDEFGHIJ"),
]
CertificateArn = Annotated[
    str,
    matching(
        r"arn:aws[-a-z]*:acm:[-a-z0-9]+:\d{12}:certificate/[-0-9a-zA-Z]+",
        "is not the ARN of a certificate of ACM, as in "
        "arn:aws:acm:eu-central-1:123456789012:certificate/…",
    ),
]
# Those with Ext in their name take ciphers without forward secrecy.
TlsPolicy = Annotated[
    str,
    matching(
        r"ELBSecurityPolicy-TLS13-1-[23](-Res)?(-FIPS)?(-PQ)?-20(2[1-9]|[3-9]\d)-\d\d",
        "is not a policy of TLS 1.2 or newer with forward secrecy, as in "
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
    ),
]
RuleGroup = Annotated[
    str,
    matching(
        r"AWSManagedRules[A-Za-z0-9]{3,100}",
        "is not a rule group that AWS manages, as in AWSManagedRulesCommonRuleSet",
    ),
]
RuleName = Annotated[
    str, matching(r"[A-Za-z0-9_-]{1,128}", "is not a rule's name, as in SizeRestrictions_BODY")
]
LogPrefix = Annotated[
    str,
    matching(
        r"[A-Za-z0-9]([\w./-]{0,200}\w)?", "is not a prefix in a bucket, without / at its ends"
    ),
]


def _cidr4(value: str) -> str:
    if ipaddress.ip_network(value).version != 4:
        raise PydanticCustomError(
            "slipway", "is a network of IPv6, and the balancer has addresses of IPv4"
        )
    return value


def _limit(value: object) -> object:
    if value is not None and (type(value) is not int or not 10 <= value <= 2_000_000_000):
        raise PydanticCustomError(
            "slipway", "is not a whole number of requests in 5 minutes from 10 to 2000000000"
        )
    return value


_RETENTION = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557)


def _days(value: object) -> object:
    if type(value) is not int or value not in _RETENTION:
        raise PydanticCustomError(
            "slipway",
            f"is not a number of days that logs are kept: {', '.join(map(str, _RETENTION))}",
        )
    return value


class Waf(Section):
    """AWS WAF in front of the gateway.

    It cannot stand before a Network Load Balancer; with it the balancer is an Application Load
    Balancer, with the same names, certificate and target.
    """

    managed: list[RuleGroup] = Field(
        default=[
            "AWSManagedRulesAmazonIpReputationList",
            "AWSManagedRulesCommonRuleSet",
            "AWSManagedRulesKnownBadInputsRuleSet",
        ],
        description="rule groups that AWS manages, in their order",
    )
    # A batch of rows is larger than the 8 KB that this rule lets through.
    counted: list[RuleName] = Field(
        default=["SizeRestrictions_BODY"],
        description="rules of those groups that count and block nothing",
    )
    rate_limit: Annotated[int | None, BeforeValidator(_limit)] = Field(
        default=None, description="requests in 5 minutes from one address; absent: no limit"
    )
    log_days: Annotated[int, BeforeValidator(_days)] = Field(
        default=30, description="days that the log of blocked requests is kept"
    )

    @field_validator("managed")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise PydanticCustomError("slipway", f"names {twice[0]} more than once")
        return value

    @model_validator(mode="after")
    def _of_some_use(self) -> Waf:
        if not self.managed and self.rate_limit is None:
            raise PydanticCustomError(
                "slipway", "has no rule; give managed or rate_limit, or leave waf out"
            )
        return self


class AccessLogs(Section):
    """A bucket that exists, in the stack's region, which lets load balancers write to it."""

    bucket: Bucket = Field(description="a bucket's name")
    prefix: LogPrefix = "entrance"


class Entrance(Section):
    """The balancer in front of the gateway, under a name of its own, by HTTPS alone.

    It is a Network Load Balancer; with `waf` it is an Application Load Balancer, for AWS WAF
    cannot be attached to the former.
    """

    domain: Domain = Field(description="the DNS name of the models, as in models.example.com")
    zone: ZoneId | None = Field(
        default=None,
        description="the id of the Route 53 zone of the domain; absent: the records are yours",
    )
    certificate: CertificateArn | None = Field(
        default=None,
        description="a certificate of ACM for both names; absent: one is made, by the zone",
    )
    mlflow_host: Domain | None = Field(
        default=None, description="the DNS name of MLflow; absent: mlflow.<domain>"
    )
    internal: bool = Field(
        default=False, description="whether only the VPC and what is routed to it reaches it"
    )
    allow_from: list[Annotated[Cidr, AfterValidator(_cidr4)]] | None = Field(
        default=None,
        description="networks that may come in; absent: everybody, where internal the VPC",
    )
    tls_policy: TlsPolicy = "ELBSecurityPolicy-TLS13-1-2-2021-06"
    redirect_http: bool | None = Field(
        default=None,
        description="whether port 80 sends to HTTPS; absent: where there is a waf",
    )
    waf: Waf | None = None
    access_logs: AccessLogs | None = None
    deletion_protection: bool = Field(
        default=False, description="whether AWS refuses to delete the balancer, `destroy` included"
    )

    @property
    def mlflow_name(self) -> str:
        """The DNS name of MLflow."""
        return self.mlflow_host or f"mlflow.{self.domain}"

    @property
    def hosts(self) -> tuple[str, str]:
        """The DNS names of models and of MLflow: what the certificate covers."""
        return self.domain, self.mlflow_name

    @property
    def redirects(self) -> bool:
        """Whether port 80 is open, to send to HTTPS."""
        return self.waf is not None if self.redirect_http is None else self.redirect_http

    @field_validator("allow_from")
    @classmethod
    def _somebody(cls, value: list[str] | None) -> list[str] | None:
        if value == []:
            raise PydanticCustomError("slipway", "lets nobody in; name networks, or leave it out")
        return list(dict.fromkeys(value)) if value else value

    @model_validator(mode="after")
    def _together(self) -> Entrance:
        if self.zone is None and self.certificate is None:
            raise fault(
                "domain",
                self.domain,
                "is a domain without a zone; give zone, the id of its Route 53 zone, or a "
                "certificate of your own, and make the records yourself",
            )
        if self.mlflow_name == self.domain:
            raise fault(
                "mlflow_host",
                self.mlflow_host,
                "is the name of the models too; MLflow has one of its own",
            )
        if self.redirect_http and self.waf is None:
            raise fault(
                "redirect_http",
                True,
                "needs waf beside it: a Network Load Balancer cannot redirect",
            )
        return self


def certificate_fault(
    certificate: str | None, account: str, region: str
) -> PydanticCustomError | None:
    """The fault of a certificate that lies elsewhere than the stack; it must be its neighbour."""
    why = "a balancer takes only a certificate of its own region and account"
    return neighbour_fault("certificate", certificate, account, region, why)
