"""The processes of one instance, as supervisord's configuration: what dies is started again."""

from __future__ import annotations

import shlex

from local import pki
from local.instance import Instance

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"


def configuration(instance: Instance) -> str:
    """The text of supervisord.conf."""
    state = instance.state
    head = f"""[supervisord]
logfile={state}/logs/supervisord.log
logfile_maxbytes=5MB
pidfile=/run/supervisord.pid
childlogdir={state}/logs
[unix_http_server]
file={state}/supervisor.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{state}/supervisor.sock
"""
    kubectl = f"kubectl --kubeconfig {state}/pki/admin.kubeconfig"
    # Started before the API answers, most programs give up and lose seconds to back-off; a
    # kubelet even stays NotReady.
    api_answers = f"{kubectl} get --raw /readyz"
    needs = {
        "kube-router": f"{kubectl} get node {pki.NODE_NAME}",
        "local-path-provisioner": f"{kubectl} -n local-path-storage get cm local-path-config",
    }
    programs = [
        _program(instance, name, command, host=True) for name, command in _host(instance).items()
    ]
    programs += [
        _program(instance, name, command, after=needs.get(name, api_answers))
        if name not in ("registry", "etcd", "containerd", "kube-apiserver")
        else _program(instance, name, command)
        for name, command in _cluster(instance).items()
    ]
    return "\n".join([head, *programs])


def _program(
    instance: Instance, name: str, command: str, *, host: bool = False, after: str = ""
) -> str:
    """One section: in the host's network or the cluster's, started once `after` succeeds."""
    words = shlex.split(command)
    if after:
        script = f"until {after} >/dev/null 2>&1; do sleep 0.3; done; exec {shlex.join(words)}"
        words = ["/bin/sh", "-c", script]
    if not host:
        words = ["nsenter", "--net=/run/netns/cluster", *words]
    line = shlex.join(words).replace("%", "%%")  # supervisord expands %(name)s
    return f"""[program:{name}]
command={line}
autorestart=true
startsecs=1
startretries=1000000
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={instance.state}/logs/{name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


def _host(instance: Instance) -> dict[str, str]:
    """What runs in the host's network: builds reach registries, people reach 127.0.0.1."""
    state = instance.state
    return {
        "buildkitd": f"buildkitd --config {state}/buildkitd.toml",
        "proxy": f"envoy -c {state}/proxy.json --concurrency 1 --log-level warn"
        " --disable-hot-restart",
    }


def _cluster(instance: Instance) -> dict[str, str]:
    """What runs in the cluster's own network."""
    state, keys, ip = instance.state, instance.state / "pki", instance.node_ip

    def kubeconfigs(name: str) -> str:
        path = keys / f"{name}.kubeconfig"
        return (
            f"--kubeconfig={path} --authentication-kubeconfig={path}"
            f" --authorization-kubeconfig={path}"
        )

    return {
        "registry": f"docker-registry serve {state}/registry.json",
        "etcd": f"""etcd --data-dir {state}/etcd --log-level warn
            --listen-client-urls http://127.0.0.1:2379
            --advertise-client-urls http://127.0.0.1:2379
            --listen-peer-urls http://127.0.0.1:2380
            --quota-backend-bytes {2 << 30} --auto-compaction-retention 1h""",
        "containerd": f"containerd --config {state}/containerd.toml",
        "kube-apiserver": f"""kube-apiserver --etcd-servers=http://127.0.0.1:2379
            --secure-port={instance.ports["api"]} --bind-address=0.0.0.0 --advertise-address={ip}
            --service-cluster-ip-range={SERVICE_CIDR} --allow-privileged=true
            --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
            --anonymous-auth=false --profiling=false --enable-aggregator-routing=true
            --client-ca-file={keys}/ca.crt
            --tls-cert-file={keys}/apiserver.crt --tls-private-key-file={keys}/apiserver.key
            --kubelet-certificate-authority={keys}/ca.crt
            --kubelet-client-certificate={keys}/apiserver-kubelet-client.crt
            --kubelet-client-key={keys}/apiserver-kubelet-client.key
            --kubelet-preferred-address-types=InternalIP
            --service-account-issuer=https://kubernetes.default.svc.cluster.local
            --service-account-key-file={keys}/service-accounts.pub
            --service-account-signing-key-file={keys}/service-accounts.key
            --requestheader-client-ca-file={keys}/front-proxy-ca.crt
            --requestheader-allowed-names=front-proxy-client
            --requestheader-extra-headers-prefix=X-Remote-Extra-
            --requestheader-group-headers=X-Remote-Group
            --requestheader-username-headers=X-Remote-User
            --proxy-client-cert-file={keys}/front-proxy-client.crt
            --proxy-client-key-file={keys}/front-proxy-client.key""",
        "kube-controller-manager": f"""kube-controller-manager {kubeconfigs("controller-manager")}
            --bind-address=127.0.0.1 --leader-elect=false --profiling=false
            --use-service-account-credentials=true
            --allocate-node-cidrs=true --cluster-cidr={POD_CIDR}
            --service-cluster-ip-range={SERVICE_CIDR} --root-ca-file={keys}/ca.crt
            --service-account-private-key-file={keys}/service-accounts.key
            --cluster-signing-cert-file={keys}/ca.crt --cluster-signing-key-file={keys}/ca.key
            --horizontal-pod-autoscaler-sync-period=10s""",
        "kube-scheduler": f"""kube-scheduler {kubeconfigs("scheduler")} --bind-address=127.0.0.1
            --leader-elect=false --profiling=false""",
        "kubelet": f"""kubelet --config {state}/kubelet.json --node-ip={ip}
            --kubeconfig={keys}/kubelet.kubeconfig --root-dir={state}/kubelet
            --cert-dir={state}/kubelet/pki --hostname-override={pki.NODE_NAME}""",
        "kube-proxy": f"kube-proxy --config {state}/kube-proxy.json",
        "coredns": f"coredns -conf {state}/Corefile",
        "metrics-server": f"""metrics-server {kubeconfigs("metrics-server")}
            --secure-port=4443 --bind-address={ip} --metric-resolution=10s
            --kubelet-request-timeout=8s --kubelet-preferred-address-types=InternalIP
            --kubelet-certificate-authority={keys}/ca.crt
            --tls-cert-file={keys}/metrics-server-tls.crt
            --tls-private-key-file={keys}/metrics-server-tls.key""",
        "local-path-provisioner": f"""local-path-provisioner start
            --kubeconfig {keys}/local-path-provisioner.kubeconfig
            --namespace local-path-storage --provisioner-name rancher.io/local-path""",
        "kube-router": f"""kube-router --kubeconfig={keys}/kube-router.kubeconfig
            --run-firewall=true --run-router=false --run-service-proxy=false
            --run-loadbalancer=false --hostname-override={pki.NODE_NAME}
            --health-port=20244 --metrics-port=0""",
    }
