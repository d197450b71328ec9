"""Pods leave the node's kernel and its guards as they are."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Pod, containers, of_pods
from engine.rule import Given, Rule
from engine.values import get, items, mapping

_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
_SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def _messages(pod: Pod, given: Given) -> Iterator[str]:
    for sysctl in items(pod.spec, "securityContext", "sysctls"):
        if get(sysctl, "name") not in _SAFE_SYSCTLS:
            yield f"sysctl {get(sysctl, 'name')} is not a safe one"
    contexts = [("pod", get(pod.spec, "securityContext"))]
    contexts += [(each.called, get(each.spec, "securityContext")) for each in containers(pod)]
    for called, context in contexts:
        selinux = get(context, "seLinuxOptions")
        if get(selinux, "type") not in _SELINUX:
            yield f"{called}: seLinuxOptions.type is {get(selinux, 'type')}"
        for field in ("user", "role"):
            if get(selinux, field):
                yield f"{called}: seLinuxOptions.{field} is set"
        if get(context, "appArmorProfile", "type") == "Unconfined":
            yield f"{called}: appArmorProfile.type is Unconfined"
    for name, value in mapping(pod.metadata, "annotations").items():
        mark = "container.apparmor.security.beta.kubernetes.io/"
        if name.startswith(mark) and get({"it": value}, "it") == "unconfined":
            yield f"annotation {name} is unconfined"


RULE = Rule(
    name="kernel-settings",
    title="Kernel settings left alone",
    description="Pods set no unsafe sysctls and weaken neither SELinux nor AppArmor.",
    severity="high",
    remediation="Remove the setting, or make it on the node for all.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline",),
    check=of_pods(_messages),
)
