"""A certificate of ACM that a zone of Route 53 proves: who answers for the zone owns the names.

https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws.acm.certificate import Certificate as AcmCertificate
from pulumi_aws.acm.certificate_validation import CertificateValidation
from pulumi_aws.route53.record import Record

from .options import child

# Minutes as a rule. Where the zone is not the one that the world asks, it never ends.
VALIDATION = "30m"


@dataclass(frozen=True)
class CertificateArgs:
    """Which names: the first is the certificate's own. zone: the id of the zone of all of them."""

    names: Sequence[str]
    zone: pulumi.Input[str]


class Certificate(pulumi.ComponentResource):
    """A certificate, a record for each of its names, and the wait until it is issued.

    The records stay, for AWS renews by them. Output: `arn`, known once it is issued.
    """

    arn: pulumi.Output[str]

    def __init__(
        self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Certificate", name, None, opts)
        certificate = AcmCertificate(
            f"{name}-request",
            domain_name=args.names[0],
            subject_alternative_names=list(args.names[1:]),
            validation_method="DNS",
            opts=child(self),
        )
        options = certificate.domain_validation_options
        records = [
            Record(
                f"{name}-proof-{number}",
                zone_id=args.zone,
                name=options.apply(_proof(domain, "resource_record_name")),
                type=options.apply(_proof(domain, "resource_record_type")),
                records=[options.apply(_proof(domain, "resource_record_value"))],
                ttl=60,
                # The same for the same name and account: that of a certificate before it may stand.
                allow_overwrite=True,
                opts=child(self),
            )
            for number, domain in enumerate(args.names)
        ]
        issued = CertificateValidation(
            f"{name}-issued",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn for record in records],
            opts=child(self, timeout=VALIDATION),
        )
        self.arn = issued.certificate_arn
        self.register_outputs({"arn": self.arn})


def _proof(domain: str, part: str) -> Callable[[Sequence[Any]], str]:
    """What AWS wants to see for one name; it lists the names in an order of its own."""

    def found(options: Sequence[Any]) -> str:
        return str(next(getattr(one, part) for one in options if one.domain_name == domain))

    return found
