"""The node of one instance: its configuration files, and starting and ending it.

Everything runs in mount, process and network namespaces of the instance's own under one first
process, a supervisord that brings back whatever dies. Ending that process ends all of it at
once; only the cgroup directories are left to remove.

Two kinds of process live there: the cluster's, in the instance's network, which has no way out;
and buildkitd with the loopback proxy, in the host's network, because a build installs packages
and people reach the cluster through 127.0.0.1. buildkitd listens on a socket file only.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from local import pki, tools
from local.console import UserError
from local.instance import NODE_PORTS, PROJECT, Instance

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
DNS_IP = "10.96.0.10"
# What a later start must find as it was: the API's data, volumes, images, build cache, Pulumi's
# state. The rest describes processes and mounts that no longer exist, and is made anew.
VOLATILE = ("containerd", "kubelet", "cni", "run", "logs")
MIN_FREE_GIB = 6


def start(instance: Instance) -> bool:
    """Start the instance; False if it was running already.

    Raises:
        UserError: not root, a port in use, too little disk, or another checkout's instance.
    """
    owner = instance.state / "project"
    if owner.exists() and owner.read_text() != str(PROJECT) and is_running(instance):
        raise UserError(
            f"instance {instance.name}: runs for the checkout {owner.read_text()}; `make down` "
            "there, or give this one a name of its own: SLIPWAY_INSTANCE=other make up"
        )
    if is_running(instance):
        return False
    _preflight(instance)
    instance.state.mkdir(parents=True, exist_ok=True)
    instance.state.chmod(0o711)
    remove_cgroups(instance)
    for name in VOLATILE:
        shutil.rmtree(instance.state / name, ignore_errors=True)
        (instance.state / name).mkdir()
    for name in ("etcd", "volumes", "registry", "buildkit", "pulumi", "docker/buildx/instances"):
        (instance.state / name).mkdir(parents=True, exist_ok=True)
    owner.write_text(str(PROJECT))
    pki.write_all(instance)
    _write_configuration(instance)
    log = open(instance.state / "logs/init.log", "ab")  # noqa: SIM115  inherited by the child
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private"]
        + ["--kill-child", "/bin/sh", str(instance.state / "init.sh")],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
        env=_daemon_environment(),
    )
    log.close()
    (instance.state / "init.pid").write_text(f"{process.pid} {_start_time(process.pid)}")
    return True


def stop(instance: Instance) -> bool:
    """End every process of the instance and with them its mounts and network; False if none ran."""
    pid = _init_pid(instance)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and (_alive(pid) or _link_exists(instance)):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
            time.sleep(0.05)
    (instance.state / "init.pid").unlink(missing_ok=True)
    remove_cgroups(instance)
    return pid is not None


def is_running(instance: Instance) -> bool:
    """Whether the instance's first process lives."""
    return _init_pid(instance) is not None


def remove_cgroups(instance: Instance) -> None:
    """Remove the instance's cgroup directories in every hierarchy, deepest first.

    Raises:
        UserError: one is still in use after ten seconds.
    """
    deadline = time.monotonic() + 10
    while True:
        left = _remove_cgroups_once(instance)
        if not left:
            return
        if time.monotonic() > deadline:
            raise UserError(f"cgroup {left[0]}: still in use; run `make down` again")
        time.sleep(0.1)


def _remove_cgroups_once(instance: Instance) -> list[Path]:
    left = []
    for root in cgroup_roots():
        top = root / instance.cgroup
        if not top.exists():
            continue
        directories = [path for path, _, _ in os.walk(top, topdown=False)]
        for directory in directories:
            try:
                os.rmdir(directory)
            except OSError:
                left.append(Path(directory))
    return left


def cgroup_roots() -> list[Path]:
    """The mount points of every cgroup hierarchy: one for v2, one a controller for v1."""
    roots = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            roots.append(Path(path))
    return roots


# ---------------------------------------------------------------------------------------------


def _preflight(instance: Instance) -> None:
    if os.geteuid() != 0:
        raise UserError(
            "make up: must run as root, because it makes network namespaces and mounts; "
            "or use a cluster that exists: make up CONTEXT=… REGISTRY=…"
        )
    for key, port in instance.ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise UserError(
                    f"port 127.0.0.1:{port} ({key}): in use by another program; "
                    f"end that, or choose another: SLIPWAY_PORT_{key.upper()}=… make up"
                ) from None
    existing = instance.state if instance.state.exists() else instance.state.parent
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / 2**30
    if free < MIN_FREE_GIB:
        raise UserError(
            f"disk: {free:.1f} GiB free under {existing}, {MIN_FREE_GIB} GiB needed for the "
            "cluster; free some, or set SLIPWAY_STATE to a larger disk"
        )


def _start_time(pid: int) -> str:
    """The start time of a process in clock ticks since boot: with the id, it names one process."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[19]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _init_pid(instance: Instance) -> int | None:
    try:
        pid, started = (instance.state / "init.pid").read_text().split()
        if _start_time(int(pid)) == started and _alive(int(pid)):
            return int(pid)
    except (OSError, ValueError):
        pass
    return None


def _link_exists(instance: Instance) -> bool:
    return Path(f"/sys/class/net/{instance.link}").exists()


def _daemon_environment() -> dict[str, str]:
    keep = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LANG")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    env["HOME"] = "/root"
    env["PATH"] = (
        f"{tools.LINKS / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    )
    return env


# ---------------------------------------------------------------------------------------------
# Configuration files


def _write_configuration(instance: Instance) -> None:
    state = instance.state
    _write(state / "containerd.toml", _containerd(instance))
    _write(
        state / "certs.d/docker.io/hosts.toml",
        f'[host."http://{instance.registry}"]\n  capabilities = ["pull", "resolve"]\n',
    )
    _write(state / "cni.d/10-slipway.conflist", json.dumps(_cni(instance), indent=2))
    _write(state / "kubelet.json", json.dumps(_kubelet(instance), indent=2))
    _write(state / "kube-proxy.json", json.dumps(_kube_proxy(instance), indent=2))
    _write(
        state / "Corefile",
        f".:53 {{\n    bind {instance.node_ip}\n    errors\n    ready {instance.node_ip}:8181\n"
        "    kubernetes cluster.local in-addr.arpa {\n"
        f"        kubeconfig {state}/pki/coredns.kubeconfig slipway\n        pods insecure\n"
        "        ttl 5\n    }\n    cache 5\n    loadbalance\n}\n",
    )
    _write(state / "registry.json", json.dumps(_registry(instance), indent=2))
    _write(
        state / "buildkitd.toml",
        f'root = "{state}/buildkit"\n[grpc]\n  address = ["unix://{state}/buildkit.sock"]\n'
        "[worker.oci]\n  enabled = true\n  networkMode = \"host\"\n"
        f'  defaultCgroupParent = "{instance.cgroup}/buildkit"\n'
        "  gc = true\n  maxUsedSpace = \"12GB\"\n[worker.containerd]\n  enabled = false\n"
        f'[registry."docker.io"]\n  mirrors = ["{instance.registry}"]\n'
        f'[registry."{instance.registry}"]\n  http = true\n',
    )
    _write(state / "proxy.json", json.dumps(_proxy(instance), indent=2))
    _write(
        state / "docker/buildx/instances/slipway",
        json.dumps(
            {
                "Name": "slipway",
                "Driver": "remote",
                "Nodes": [
                    {"Name": "slipway0", "Endpoint": f"unix://{state}/buildkit.sock"},
                ],
                "Dynamic": False,
            }
        ),
    )
    _write(state / "docker/config.json", "{}")
    _write(state / "manifests.yaml", _manifests(instance))
    _write(state / "supervisord.conf", _supervisord(instance))
    _write(state / "init.sh", _init(instance))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _containerd(instance: Instance) -> str:
    return f"""version = 2
root = "{instance.state}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{instance.registry}/slipway/busybox:1.35"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{tools.LINKS}/bin"
    conf_dir = "{instance.state}/cni.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{instance.state}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      BinaryName = "{tools.LINKS}/bin/runc"
"""


def _cni(instance: Instance) -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": "slipway",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.244.0.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": f"{instance.state}/cni",
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(instance: Instance) -> dict[str, object]:
    pki_dir = instance.state / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki_dir / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki_dir / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki_dir / "kubelet-server.key"),
        "address": instance.node_ip,
        "healthzBindAddress": "127.0.0.1",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{instance.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{instance.state}/resolv.conf",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        # The disk is shared with the host, so its fill says nothing about this cluster's images;
        # collecting them would take the sandbox image, and no pod would start any more.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi"},
        "maxPods": 60,
        "serializeImagePulls": False,
        # A lost node lease would mark pods unready; on two busy cores the default is tight.
        "nodeLeaseDurationSeconds": 60,
        "shutdownGracePeriod": "0s",
    }


def _kube_proxy(instance: Instance) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{instance.state}/pki/kube-proxy.kubeconfig"},
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "bindAddress": instance.node_ip,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": [f"{instance.node_ip}/32"],
        "conntrack": {"maxPerCore": 0},
        "hostnameOverride": pki.NODE_NAME,
    }


def _registry(instance: Instance) -> dict[str, object]:
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": f"{instance.state}/registry"},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"0.0.0.0:{instance.ports['registry']}", "secret": os.urandom(16).hex()},
    }


def _proxy(instance: Instance) -> dict[str, object]:
    """An Envoy that carries each port of 127.0.0.1 to the node."""

    def listener(name: str, port: int, target: int) -> dict[str, object]:
        return {
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.tcp_proxy",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.filters.network"
                                ".tcp_proxy.v3.TcpProxy",
                                "stat_prefix": name,
                                "cluster": name,
                                "idle_timeout": "0s",
                            },
                        }
                    ]
                }
            ],
        }

    def cluster(name: str, port: int, target: int) -> dict[str, object]:
        address = {"socket_address": {"address": instance.node_ip, "port_value": target}}
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }

    ways = [(key, port, NODE_PORTS.get(key, port)) for key, port in instance.ports.items()]
    return {
        "static_resources": {
            "listeners": [listener(*way) for way in ways],
            "clusters": [cluster(*way) for way in ways],
        }
    }


def _manifests(instance: Instance) -> str:
    text = (PROJECT / "local/manifests.yaml").read_text()
    bundle = base64.b64encode((instance.state / "pki/ca.crt").read_bytes()).decode()
    for mark, value in {
        "@NODE_IP@": instance.node_ip,
        "@CA_BUNDLE@": bundle,
        "@VOLUMES@": str(instance.state / "volumes"),
        "@REGISTRY@": instance.registry,
    }.items():
        text = text.replace(mark, value)
    return text


def _init(instance: Instance) -> str:
    """The script of the first process: mounts, network, cgroups, then supervisord in its place."""
    state, link = instance.state, instance.link
    return f"""set -eu
# Pods mount volumes below this; nothing of it reaches the host, whose copies are private.
mount --make-rshared /
# A resolv.conf that links into /run must survive the empty /run that follows.
cat /etc/resolv.conf > {state}/resolv.conf
mount -t tmpfs -o mode=755 tmpfs /run
if [ -L /etc/resolv.conf ]; then
  target=$(readlink -m /etc/resolv.conf); mkdir -p "$(dirname "$target")"
  cp {state}/resolv.conf "$target"
fi
mkdir -p /run/netns /run/lock
touch /run/netns/cluster
unshare --net=/run/netns/cluster true
in_cluster() {{ nsenter --net=/run/netns/cluster "$@"; }}
ip link add {link} type veth peer name eth0 netns cluster
ip addr add {instance.host_ip}/30 dev {link}
ip link set {link} up
in_cluster ip link set lo up
in_cluster ip addr add {instance.node_ip}/30 dev eth0
in_cluster ip link set eth0 up
in_cluster ip route add default via {instance.host_ip}
in_cluster sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward
  for key in net/bridge/bridge-nf-call-iptables net/ipv4/conf/all/forwarding; do
    if [ -e /proc/sys/$key ]; then echo 1 > /proc/sys/$key; fi
  done'
for root in {" ".join(str(root) for root in cgroup_roots())}; do
  mkdir -p $root/{instance.cgroup} || continue
  # A new cpuset group is empty, and takes no process until it has processors and memory.
  for key in cpuset.cpus cpuset.mems; do
    if [ -e $root/$key ] && [ -e $root/{instance.cgroup}/$key ]; then
      cat $root/$key > $root/{instance.cgroup}/$key || true
    fi
  done
done
ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec {shlex.quote(str(tools.venv_python()))} -m supervisor.supervisord \\
  --nodaemon --configuration {state}/supervisord.conf
"""


def _supervisord(instance: Instance) -> str:
    state, pki_dir, ip = instance.state, instance.state / "pki", instance.node_ip
    api = instance.ports["api"]
    sections = [
        f"""[supervisord]
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
    ]

    kubectl = f"kubectl --kubeconfig {pki_dir}/admin.kubeconfig"
    # Started before the API answers, most programs give up and lose seconds to back-off; a
    # kubelet even stays NotReady.
    api_answers = f"{kubectl} get --raw /readyz"
    node_is_known = f"{kubectl} get node {pki.NODE_NAME}"

    def program(name: str, command: list[object], *, host: bool = False, after: str = "") -> None:
        words = [str(word) for word in command]
        if after:
            script = f"until {after} >/dev/null 2>&1; do sleep 0.3; done; exec {shlex.join(words)}"
            words = ["/bin/sh", "-c", script]
        if not host:
            words = ["nsenter", "--net=/run/netns/cluster", *words]
        # supervisord expands %(name)s in commands.
        line = shlex.join(words).replace("%", "%%")
        sections.append(
            f"[program:{name}]\ncommand={line}\nautorestart=true\nstartsecs=1\n"
            "startretries=1000000\nstopasgroup=true\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={state}/logs/{name}.log\nstdout_logfile_maxbytes=5MB\n"
            "stdout_logfile_backups=1\n"
        )

    program("buildkitd", ["buildkitd", "--config", state / "buildkitd.toml"], host=True)
    program(
        "proxy",
        ["envoy", "-c", state / "proxy.json", "--concurrency", "1", "--log-level", "warn"]
        + ["--disable-hot-restart"],
        host=True,
    )
    program("registry", ["docker-registry", "serve", state / "registry.json"])
    program(
        "etcd",
        ["etcd", "--data-dir", state / "etcd", "--log-level", "warn"]
        + ["--listen-client-urls", "http://127.0.0.1:2379"]
        + ["--advertise-client-urls", "http://127.0.0.1:2379"]
        + ["--listen-peer-urls", "http://127.0.0.1:2380"]
        + ["--quota-backend-bytes", str(2 << 30), "--auto-compaction-retention", "1h"],
    )
    program("containerd", ["containerd", "--config", state / "containerd.toml"])
    program(
        "kube-apiserver",
        ["kube-apiserver", "--etcd-servers=http://127.0.0.1:2379"]
        + [f"--secure-port={api}", "--bind-address=0.0.0.0", f"--advertise-address={ip}"]
        + [f"--service-cluster-ip-range={SERVICE_CIDR}", "--allow-privileged=true"]
        + ["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]
        + ["--anonymous-auth=false", "--profiling=false"]
        + [f"--client-ca-file={pki_dir}/ca.crt"]
        + [f"--tls-cert-file={pki_dir}/apiserver.crt"]
        + [f"--tls-private-key-file={pki_dir}/apiserver.key"]
        + [f"--kubelet-certificate-authority={pki_dir}/ca.crt"]
        + [f"--kubelet-client-certificate={pki_dir}/apiserver-kubelet-client.crt"]
        + [f"--kubelet-client-key={pki_dir}/apiserver-kubelet-client.key"]
        + ["--kubelet-preferred-address-types=InternalIP"]
        + ["--service-account-issuer=https://kubernetes.default.svc.cluster.local"]
        + [f"--service-account-key-file={pki_dir}/service-accounts.pub"]
        + [f"--service-account-signing-key-file={pki_dir}/service-accounts.key"]
        + [f"--requestheader-client-ca-file={pki_dir}/front-proxy-ca.crt"]
        + ["--requestheader-allowed-names=front-proxy-client"]
        + ["--requestheader-extra-headers-prefix=X-Remote-Extra-"]
        + ["--requestheader-group-headers=X-Remote-Group"]
        + ["--requestheader-username-headers=X-Remote-User"]
        + [f"--proxy-client-cert-file={pki_dir}/front-proxy-client.crt"]
        + [f"--proxy-client-key-file={pki_dir}/front-proxy-client.key"]
        + ["--enable-aggregator-routing=true"],
    )
    controllers = pki_dir / "controller-manager.kubeconfig"
    program(
        "kube-controller-manager",
        ["kube-controller-manager", f"--kubeconfig={controllers}"]
        + [f"--authentication-kubeconfig={controllers}"]
        + [f"--authorization-kubeconfig={controllers}", "--bind-address=127.0.0.1"]
        + ["--leader-elect=false", "--use-service-account-credentials=true"]
        + ["--allocate-node-cidrs=true", f"--cluster-cidr={POD_CIDR}"]
        + [f"--service-cluster-ip-range={SERVICE_CIDR}", "--profiling=false"]
        + [f"--root-ca-file={pki_dir}/ca.crt"]
        + [f"--service-account-private-key-file={pki_dir}/service-accounts.key"]
        + [f"--cluster-signing-cert-file={pki_dir}/ca.crt"]
        + [f"--cluster-signing-key-file={pki_dir}/ca.key"]
        + ["--horizontal-pod-autoscaler-sync-period=10s"],
        after=api_answers,
    )
    scheduler = pki_dir / "scheduler.kubeconfig"
    program(
        "kube-scheduler",
        ["kube-scheduler", f"--kubeconfig={scheduler}", "--bind-address=127.0.0.1"]
        + [f"--authentication-kubeconfig={scheduler}", f"--authorization-kubeconfig={scheduler}"]
        + ["--leader-elect=false", "--profiling=false"],
        after=api_answers,
    )
    program(
        "kubelet",
        ["kubelet", "--config", state / "kubelet.json", f"--node-ip={ip}"]
        + [f"--kubeconfig={pki_dir}/kubelet.kubeconfig", f"--root-dir={state}/kubelet"]
        + [f"--cert-dir={state}/kubelet/pki", f"--hostname-override={pki.NODE_NAME}"],
        after=api_answers,
    )
    program("kube-proxy", ["kube-proxy", "--config", state / "kube-proxy.json"], after=api_answers)
    program("coredns", ["coredns", "-conf", state / "Corefile"], after=api_answers)
    metrics = pki_dir / "metrics-server.kubeconfig"
    program(
        "metrics-server",
        ["metrics-server", f"--kubeconfig={metrics}", f"--authentication-kubeconfig={metrics}"]
        + [f"--authorization-kubeconfig={metrics}", "--secure-port=4443", f"--bind-address={ip}"]
        + [f"--tls-cert-file={pki_dir}/metrics-server-tls.crt"]
        + [f"--tls-private-key-file={pki_dir}/metrics-server-tls.key"]
        + [f"--kubelet-certificate-authority={pki_dir}/ca.crt", "--metric-resolution=10s"]
        + ["--kubelet-request-timeout=8s"]
        + ["--kubelet-preferred-address-types=InternalIP"],
        after=api_answers,
    )
    program(
        "local-path-provisioner",
        ["local-path-provisioner", "start"]
        + ["--kubeconfig", pki_dir / "local-path-provisioner.kubeconfig"]
        + ["--namespace", "local-path-storage", "--provisioner-name", "rancher.io/local-path"],
        after=f"{kubectl} get configmap --namespace local-path-storage local-path-config",
    )
    program(
        "kube-router",
        ["kube-router", f"--kubeconfig={pki_dir}/kube-router.kubeconfig"]
        + ["--run-firewall=true", "--run-router=false", "--run-service-proxy=false"]
        + ["--run-loadbalancer=false", f"--hostname-override={pki.NODE_NAME}"]
        + ["--health-port=20244", "--metrics-port=0"],
        after=node_is_known,
    )
    return "\n".join(sections)
