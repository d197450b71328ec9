"""The configuration files of one instance's node, written anew at each start."""

from __future__ import annotations

import base64
import json
import os
import shlex
from pathlib import Path

from local import node, pki, processes, toolkit, venv
from local.instance import NODE_PORTS, PROJECT, Instance

POD_CIDR = processes.POD_CIDR
DNS_IP = "10.96.0.10"
# Where containerd looks for network plugins and their configuration, and where a pod may add its
# own: in the instance's own /run.
CNI_BIN = "/run/cni/bin"
CNI_CONF = "/run/cni/net.d"
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
# The registries whose images the instance's own one has.
MIRRORED = ("docker.io", "ghcr.io", "quay.io", "registry.k8s.io")


def write(instance: Instance) -> None:
    """Write every file; each is the whole truth of its program."""
    state = instance.state
    _write(state / "containerd.toml", _containerd(instance))
    write_mirrors(instance)
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
        '[worker.oci]\n  enabled = true\n  networkMode = "host"\n'
        f'  defaultCgroupParent = "{instance.cgroup}/buildkit"\n'
        '  gc = true\n  maxUsedSpace = "12GB"\n[worker.containerd]\n  enabled = false\n'
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
    write_manifests(instance)
    _write(state / "supervisord.conf", processes.configuration(instance))
    _write(state / "init.sh", _init(instance))


def write_manifests(instance: Instance) -> None:
    """Write what the API server is given, which a cluster that runs takes too."""
    _write(instance.state / "manifests.yaml", _manifests(instance))


def write_mirrors(instance: Instance) -> None:
    """Tell containerd, which looks at every pull, whom the instance's registry stands in for."""
    for mirrored in MIRRORED:
        _write(
            instance.state / f"certs.d/{mirrored}/hosts.toml",
            f'[host."http://{instance.registry}"]\n  capabilities = ["pull", "resolve"]\n',
        )


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
    bin_dir = "{CNI_BIN}"
    conf_dir = "{CNI_CONF}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{instance.state}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      BinaryName = "{toolkit.LINKS}/bin/runc"
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
                                # A gateway that is unready for a moment is waited for.
                                "max_connect_attempts": 30,
                                "backoff_options": {
                                    "base_interval": "0.1s",
                                    "max_interval": "0.2s",
                                },
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
mkdir -p /run/netns /run/lock {CNI_BIN} {CNI_CONF}
for plugin in {" ".join(CNI_PLUGINS)}; do
  cp -L {toolkit.LINKS}/bin/$plugin {CNI_BIN}/
done
cp {state}/cni.d/* {CNI_CONF}/
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
# The registry is the node's and the builder's; a pod that could push might replace the image that
# mounts volumes as root.
in_cluster iptables -A INPUT -i cni0 -p tcp --dport {instance.ports["registry"]} -j DROP
for root in {" ".join(str(root) for root in node.cgroup_roots())}; do
  mkdir -p $root/{instance.cgroup} || continue
  # A new cpuset group is empty, and takes no process until it has processors and memory.
  for key in cpuset.cpus cpuset.mems; do
    if [ -e $root/$key ] && [ -e $root/{instance.cgroup}/$key ]; then
      cat $root/$key > $root/{instance.cgroup}/$key || true
    fi
  done
done
ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec {shlex.quote(str(venv.venv_python()))} -m supervisor.supervisord \\
  --nodaemon --configuration {state}/supervisord.conf
"""
