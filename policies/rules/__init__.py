"""The rules of the pack, one a file; those of AWS a service a file."""

from __future__ import annotations

from engine.rule import Rule
from rules import (
    aws_data,
    aws_ec2,
    aws_eks,
    aws_iam,
    aws_rds,
    aws_s3,
    canary_image,
    canary_model_only,
    canary_weight,
    capabilities,
    container_resources,
    cost_labels,
    default_deny,
    disruption_budget,
    graceful_shutdown,
    host_namespaces,
    image_digest,
    image_registry,
    kernel_settings,
    load_balancers,
    model_pickle,
    model_reference,
    model_server_egress,
    model_server_ingress,
    model_server_probes,
    plain_text_secrets,
    pod_anti_affinity,
    pod_security_level,
    privilege_escalation,
    privileged_containers,
    public_tls,
    rbac_wildcards,
    read_only_root_filesystem,
    replicas,
    route_weights,
    run_as_non_root,
    seccomp_profile,
    service_account_token,
    volume_types,
)

IMAGES = (image_digest, image_registry)
PODS = (
    container_resources,
    run_as_non_root,
    read_only_root_filesystem,
    privilege_escalation,
    privileged_containers,
    capabilities,
    seccomp_profile,
    host_namespaces,
    volume_types,
    kernel_settings,
    service_account_token,
)
CLUSTER = (
    rbac_wildcards,
    pod_security_level,
    default_deny,
    load_balancers,
    public_tls,
    plain_text_secrets,
    cost_labels,
)
AVAILABILITY = (replicas, pod_anti_affinity, disruption_budget)
MODELS = (
    model_server_probes,
    graceful_shutdown,
    model_server_egress,
    model_server_ingress,
    model_pickle,
    model_reference,
    route_weights,
    canary_weight,
    canary_model_only,
    canary_image,
)
AWS = (aws_s3, aws_iam, aws_ec2, aws_eks, aws_rds, aws_data)

ALL: tuple[Rule, ...] = (
    *(module.RULE for module in (*IMAGES, *PODS, *CLUSTER, *AVAILABILITY, *MODELS)),
    *(rule for module in AWS for rule in module.RULES),
)
