"""The entrance: its zone, its certificate, and the bucket of its logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from preflight_aws.asking import At, Finding, Question, code, fault, note
from preflight_aws.wanted import Wanted

_ZONE, _CERTIFICATE = "aws.entrance.zone", "aws.entrance.certificate"
_LOGS = "aws.entrance.access_logs.bucket"


def questions(asked: Wanted) -> Iterator[Question]:
    """Those about what the entrance names."""
    if asked.entrance.zone:
        yield Question(_ZONE, _zone)
    if asked.entrance.certificate:
        yield Question(_CERTIFICATE, _certificate)
    if asked.entrance.access_logs:
        yield Question(_LOGS, _logs)


def covers(name: str, host: str) -> bool:
    """Whether a certificate's name, perhaps `*.example.com`, is that of `host`: a star stands for
    one label (RFC 9525, section 6.3).
    """
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:]
    return name == host


def _zone(at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    zone = asked.entrance.zone
    try:
        found = at("route53").get_hosted_zone(Id=zone)["HostedZone"]
    except ClientError as error:
        if code(error) != "NoSuchHostedZone":
            raise
        yield fault(_ZONE, zone, "is no zone of this account; aws route53 list-hosted-zones")
        return
    name = found["Name"].rstrip(".")
    for key, host in zip(("domain", "mlflow_host"), asked.entrance.hosts, strict=True):
        if host != name and not host.endswith(f".{name}"):
            said = f"does not lie in the zone {name} ({zone}); name one below it, or its own zone"
            yield fault(f"aws.entrance.{key}", host, said)
    if found["Config"].get("PrivateZone") and not asked.entrance.certificate:
        said = (
            f"is private ({name}), and nobody outside sees it, so it proves no certificate; name "
        )
        yield fault(_ZONE, zone, f"{said}a public one, or a certificate of your own")


def _certificate(at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError

    arn = asked.entrance.certificate
    try:
        found = at("acm").describe_certificate(CertificateArn=arn)["Certificate"]
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        yield fault(_CERTIFICATE, arn, f"is no certificate in {asked.region}")
        return
    if found["Status"] != "ISSUED":
        yield fault(_CERTIFICATE, arn, f"is {found['Status']}, not ISSUED; a balancer refuses it")
    names = {found["DomainName"], *found.get("SubjectAlternativeNames", ())}
    for host in asked.entrance.hosts:
        if not any(covers(name, host) for name in names):
            said = f"does not cover {host} (covered: {', '.join(sorted(names))})"
            yield fault(_CERTIFICATE, arn, said)


def _logs(at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError

    logs = asked.entrance.access_logs
    bucket = logs.bucket if logs else ""
    try:
        found = at("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if code(error) == "404":
            yield fault(_LOGS, bucket, "is no bucket there is; make it first, for the balancer")
        else:
            # Balancers write to it, and those who deploy may have no business there.
            yield note(_LOGS, f"not checked: these credentials may not ask ({bucket})")
        return
    if found.get("BucketRegion", asked.region) != asked.region:
        said = f"is in {found['BucketRegion']}, and the balancer in {asked.region}; name one there"
        yield fault(_LOGS, bucket, said)
