"""The flags of ``run``, ``create`` and ``spec``, with Docker's names.

Source: Docker CLI reference, ``docker container run``.
"""

from __future__ import annotations

import click

from runengine.cli import network_specs, port_specs
from runengine.cli import run_values as values
from runengine.cli.flags import flag

# Flags whose value goes to one field of the host's configuration as it is.
HOST_FIELDS = {
    "annotation": "Annotations",
    "blkio_weight": "BlkioWeight",
    "blkio_weight_device": "BlkioWeightDevice",
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "cgroup_parent": "CgroupParent",
    "cgroupns": "CgroupnsMode",
    "cidfile": "ContainerIDFile",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "device_cgroup_rule": "DeviceCgroupRules",
    "device_read_bps": "BlkioDeviceReadBps",
    "device_read_iops": "BlkioDeviceReadIOps",
    "device_write_bps": "BlkioDeviceWriteBps",
    "device_write_iops": "BlkioDeviceWriteIOps",
    "dns": "Dns",
    "dns_option": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
    "hugetlb": "HugetlbLimits",
    "init": "Init",
    "ipc": "IpcMode",
    "memory": "Memory",
    "memory_reservation": "MemoryReservation",
    "memory_swap": "MemorySwap",
    "numa_node": "NumaNode",
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "pid": "PidMode",
    "pids_limit": "PidsLimit",
    "privileged": "Privileged",
    "profile": "Profile",
    "read_only": "ReadonlyRootfs",
    "rm": "AutoRemove",
    "runtime": "Runtime",
    "shm_size": "ShmSize",
    "systemd": "Systemd",
    "userns": "UsernsMode",
    "uts": "UTSMode",
}

# The same for the container's configuration.
CONFIG_FIELDS = {
    "domainname": "Domainname",
    "hostname": "Hostname",
    "stop_signal": "StopSignal",
    "stop_timeout": "StopTimeout",
    "user": "User",
    "workdir": "WorkingDir",
}

# The same for its health check.
HEALTH_FIELDS = {
    "health_interval": "Interval",
    "health_retries": "Retries",
    "health_start_interval": "StartInterval",
    "health_start_period": "StartPeriod",
    "health_timeout": "Timeout",
}

_PROCESS = (
    flag("-a --attach", "list", help="Attach to STDIN, STDOUT or STDERR", convert=values.stream),
    flag("--detach-keys", help="Override the key sequence for detaching a container"),
    flag("--domainname", help="Container NIS domain name"),
    flag("--entrypoint", help="Overwrite the default ENTRYPOINT of the image"),
    flag("-e --env", "list", help="Set environment variables"),
    flag("--env-file", "list", help="Read in a file of environment variables"),
    flag("--group-add", "list", help="Add additional groups to join"),
    flag("-h --hostname", help="Container host name", convert=values.hostname),
    flag("--init", "bool", help="Run an init in the container that forwards signals and reaps"),
    flag("-i --interactive", "bool", help="Keep STDIN open even if not attached"),
    flag("-l --label", "list", help="Set meta data on a container"),
    flag("--label-file", "list", help="Read in a line delimited file of labels"),
    flag("--stop-signal", help="Signal to stop the container", convert=values.signal_name),
    flag("--stop-timeout", "int", help="Timeout (in seconds) to stop a container"),
    flag("--systemd", convert=values.systemd,
         help="Run systemd in the container (true: where the command is one, false, always)"),
    flag("-t --tty", "bool", help="Allocate a pseudo-TTY"),
    flag("-u --user", help="Username or UID (format: <name|uid>[:<group|gid>])"),
    flag("-w --workdir", help="Working directory inside the container"),
)

_HEALTH = (
    flag("--health-cmd", help="Command to run to check health"),
    flag("--health-interval", "duration", convert=values.duration,
         help="Time between running the check (ms|s|m|h) (default 30s)"),
    flag("--health-retries", "int", help="Consecutive failures needed to report unhealthy"),
    flag("--health-start-interval", "duration", convert=values.duration,
         help="Time between running the check during the start period (ms|s|m|h) (default 5s)"),
    flag("--health-start-period", "duration", convert=values.duration,
         help="Start period for the container to initialize before starting health-retries "
         "countdown (ms|s|m|h) (default 0s)"),
    flag("--health-timeout", "duration", convert=values.duration,
         help="Maximum time to allow one check to run (ms|s|m|h) (default 30s)"),
    flag("--no-healthcheck", "bool", help="Disable any container-specified HEALTHCHECK"),
)

_LIFE = (
    flag("--cidfile", help="Write the container ID to the file"),
    flag("--name", help="Assign a name to the container"),
    flag("--profile", help="Settings for a purpose, below those given (bench: measurements)"),
    flag("--platform", help="Set platform if server is multi-platform capable"),
    flag("--pull", default="missing",
         help="Pull image before running (always, missing, never, newer)"),
    flag("-q --quiet", "bool", help="Suppress the pull output"),
    flag("--replace", "bool", help="Remove the container that has the name, running or not"),
    flag(
        "--restart",
        help="Restart policy to apply when a container exits: no, always, unless-stopped or "
        "on-failure[:max-retries]",
        convert=values.restart_policy,
        default="no",
    ),
    flag("--rm", "bool", help="Automatically remove the container when it exits"),
    flag("--runtime", help="Runtime to use for this container"),
    flag("--log-driver", help="Logging driver for the container (cri, json-file, journald, "
         "passthrough, none)"),
    flag("--log-opt", "list", help="Log driver options"),
    flag("--disable-content-trust", "bool", default=True, hidden=True),
)

_SECURITY = (
    flag("--annotation", "list", help="Add an annotation to the container (KEY=VALUE)"),
    flag("--cap-add", "list", help="Add Linux capabilities"),
    flag("--cap-drop", "list", help="Drop Linux capabilities"),
    flag("--cgroup-parent", help="Optional parent cgroup for the container"),
    flag("--cgroupns", help="Cgroup namespace to use (host|private)", convert=values.cgroupns),
    flag("--ipc", help="IPC mode to use"),
    flag("--pid", help="PID namespace to use"),
    flag("--privileged", "bool", help="Give extended privileges to this container"),
    flag("--read-only", "bool", help="Mount the container's root filesystem as read only"),
    flag("--read-only-tmpfs", "bool",
         help="With --read-only: mount writable tmpfs on /run, /tmp and /var/tmp"),
    flag("--security-opt", "list", help="Security Options"),
    flag("--sysctl", "list", help="Sysctl options", convert=values.sysctl),
    flag("--gidmap", "list", help="GID map of the user namespace (CONTAINER_GID:HOST_GID:COUNT)"),
    flag("--uidmap", "list", help="UID map of the user namespace (CONTAINER_UID:HOST_UID:COUNT)"),
    flag("--userns", help="User namespace to use (host|auto[:size=N]|container:NAME)"),
    flag("--uts", help="UTS namespace to use"),
)

_FILES = (
    flag("--disk-quota", "list", help="Limit what the container may write ([PLACE=]SIZE)"),
    flag("--device", "list", help="Add a host device to the container", convert=values.device),
    flag("--device-cgroup-rule", "list", help="Add a rule to the cgroup allowed devices list"),
    flag("--gpus", "list", help="GPU devices to add to the container ('all' to pass all GPUs)",
         convert=values.gpus),
    flag("--mount", "list", help="Attach a filesystem mount to the container"),
    flag("--quota-id", "int", help="Project id of the disk quota (-1: any that is free)"),
    flag("--shm-size", help="Size of /dev/shm", convert=values.size),
    flag("--storage-opt", "list", help="Limits of the container's own files (size=, inodes=)"),
    flag("--tmpfs", "list", help="Mount a tmpfs directory"),
    flag("-v --volume", "list", help="Bind mount a volume"),
    flag("--volume-driver", help="Optional volume driver for the container"),
    flag("--volumes-from", "list", help="Mount volumes from the specified container(s)"),
)

_RESOURCES = (
    flag("--blkio-weight", "int", help="Block IO (relative weight), between 10 and 1000, or 0"),
    flag("--blkio-weight-device", "list", help="Block IO weight (relative device weight)",
         convert=values.weight_device),
    flag("--cpu-period", "int", help="Limit CPU CFS (Completely Fair Scheduler) period"),
    flag("--cpu-quota", "int", help="Limit CPU CFS (Completely Fair Scheduler) quota"),
    flag("--cpu-rt-period", "int", help="Limit CPU real-time period in microseconds"),
    flag("--cpu-rt-runtime", "int", help="Limit CPU real-time runtime in microseconds"),
    flag("-c --cpu-shares", "int", help="CPU shares (relative weight)"),
    flag("--cpus", help="Number of CPUs", convert=values.nano_cpus),
    flag("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)"),
    flag("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)"),
    flag("--device-read-bps", "list", help="Limit read rate (bytes per second) from a device",
         convert=values.byte_rate),
    flag("--device-read-iops", "list", help="Limit read rate (IO per second) from a device",
         convert=values.operation_rate),
    flag("--device-write-bps", "list", help="Limit write rate (bytes per second) to a device",
         convert=values.byte_rate),
    flag("--device-write-iops", "list", help="Limit write rate (IO per second) to a device",
         convert=values.operation_rate),
    flag("--exec-cpu-affinity", "list", convert=values.exec_cpu_affinity,
         help="CPUs for processes that exec adds (CPUS, initial=CPUS, final=CPUS)"),
    flag("--hugetlb", "list", help="Limit memory in huge pages (PAGE_SIZE:LIMIT, such as 2MB:1g)",
         convert=values.hugetlb),
    flag("--kernel-memory", hidden=True, convert=values.size),
    flag("-m --memory", help="Memory limit", convert=values.size),
    flag("--memory-reservation", help="Memory soft limit", convert=values.size),
    flag("--memory-swap", help="Limit on memory plus swap: '-1' to enable unlimited swap",
         convert=values.size_or_unlimited),
    flag("--memory-swappiness", "int", help="Tune container memory swappiness (0 to 100)",
         default=-1),
    flag("--numa-node", help="NUMA nodes to keep to, CPUs and memory (0, 0-1)"),
    flag("--oom-kill-disable", "bool", help="Disable OOM Killer"),
    flag("--oom-score-adj", "int", help="Tune host's OOM preferences (-1000 to 1000)"),
    flag("--pids-limit", "int", help="Tune container pids limit (set -1 for unlimited)"),
    flag("--ulimit", "list", help="Ulimit options", convert=values.ulimit),
)

_NETWORK = (
    flag("--add-host", "list", help="Add a custom host-to-IP mapping (host:ip)",
         convert=values.extra_host),
    flag("--dns", "list", help="Set custom DNS servers", convert=values.ip_address),
    flag("--dns-option --dns-opt", "list", help="Set DNS options"),
    flag("--dns-search", "list", help="Set custom DNS search domains"),
    flag("--expose", "list", help="Expose a port or a range of ports", convert=port_specs.exposed),
    flag("--ip", help="IPv4 address (e.g., 172.30.100.104)", convert=network_specs.ipv4),
    flag("--ip6", help="IPv6 address (e.g., 2001:db8::33)", convert=network_specs.ipv6),
    flag("--link", "list", help="Add link to another container", convert=network_specs.link),
    flag("--link-local-ip", "list", help="Container IPv4/IPv6 link-local addresses",
         convert=values.ip_address),
    flag("--mac-address", help="Container MAC address (e.g., 92:d0:c6:0a:29:33)",
         convert=network_specs.mac_address),
    flag("--network --net", "list", help="Connect a container to a network",
         convert=network_specs.network),
    flag("--network-alias --net-alias", "list",
         help="Add network-scoped alias for the container", convert=network_specs.alias),
    flag("-p --publish", "list", help="Publish a container's port(s) to the host",
         convert=port_specs.published),
    flag("-P --publish-all", "bool", help="Publish all exposed ports to random ports"),
)


_COMMON: tuple[click.Parameter, ...] = (
    *_PROCESS,
    *_HEALTH,
    *_LIFE,
    *_SECURITY,
    *_FILES,
    *_RESOURCES,
    *_NETWORK,
    click.Argument(["image"]),
    click.Argument(["command"], nargs=-1),
)


def create_params() -> list[click.Parameter]:
    """Parameters of ``create``."""
    return list(_COMMON)


def run_params() -> list[click.Parameter]:
    """Parameters of ``run``."""
    return [
        flag("-d --detach", "bool", help="Run container in background and print container ID"),
        flag("--sig-proxy", "bool", help="Proxy received signals to the process", default=True),
        *_COMMON,
    ]


def spec_params() -> list[click.Parameter]:
    """Parameters of ``spec``."""
    return [
        flag("--bundle", help="Directory to write the bundle to", required=True),
        *_COMMON,
    ]
