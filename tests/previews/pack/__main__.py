"""Two rules: one that must be kept, and one that advises."""

from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy, Severity


def pickles(args, report):
    """No pickled model."""
    if args.resource_type == "kubernetes:apps/v1:Deployment":
        first = (args.props["spec"]["template"]["spec"].get("initContainers") or [{}])[0]
        if "--allow-pickle" in first.get("command", []):
            report("serves a pickled model, which runs the code in it.\nServe it as ONNX or skops.")


def owner(args, report):
    """Every Deployment has an owner."""
    if args.resource_type == "kubernetes:apps/v1:Deployment":
        report("has no label `owner`; add one to its metadata.")


PolicyPack(
    "slipway-tests",
    [
        ResourceValidationPolicy(
            "no-pickled-models",
            "No pickled model is served.",
            pickles,
            EnforcementLevel.MANDATORY,
            severity=Severity.CRITICAL,
        ),
        ResourceValidationPolicy(
            "labels-for-owner",
            "What costs has an owner.",
            owner,
            EnforcementLevel.ADVISORY,
            severity=Severity.LOW,
        ),
    ],
)
