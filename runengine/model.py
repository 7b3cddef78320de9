"""A container's configuration in Docker's shape.

These are the documents that ``inspect`` shows, that the database keeps and that the HTTP API
speaks, so there is one model and no translation. Units are Docker's: bytes, ns, 1e-9 CPUs.
Source: Docker Engine API, ``ContainerConfig`` and ``HostConfig``.

Annotations are values here: a TypedDict compiles those that are text, 1.4 ms of a cold command.
"""

from typing import Any, NotRequired, TypedDict


class HealthConfig(TypedDict, total=False):
    """An image's or a container's health check; durations in ns."""

    Test: list[str]
    Interval: int
    Timeout: int
    Retries: int
    StartPeriod: int
    StartInterval: int


class ContainerConfig(TypedDict):
    """What runs, independent of the host."""

    Hostname: str
    Domainname: str
    User: str
    AttachStdin: bool
    AttachStdout: bool
    AttachStderr: bool
    ExposedPorts: dict[str, dict[str, Any]]
    Tty: bool
    OpenStdin: bool
    StdinOnce: bool
    Env: list[str]
    Cmd: list[str] | None
    Image: str
    Volumes: dict[str, dict[str, Any]]
    WorkingDir: str
    Entrypoint: list[str] | None
    Labels: dict[str, str]
    StopSignal: str
    StopTimeout: int | None
    Healthcheck: HealthConfig | None
    OnBuild: list[str]
    Shell: list[str] | None


class LogConfig(TypedDict):
    """Log driver and its options."""

    Type: str
    Config: dict[str, str]


class RestartPolicy(TypedDict):
    """When to start again after an exit."""

    Name: str
    MaximumRetryCount: int


class DeviceMapping(TypedDict):
    """A host device given to the container."""

    PathOnHost: str
    PathInContainer: str
    CgroupPermissions: str


class DeviceRequest(TypedDict):
    """Devices by what they are: by CDI names, or so many of a driver's with capabilities."""

    Driver: str
    Count: int
    DeviceIDs: list[str] | None
    Capabilities: list[list[str]] | None
    Options: dict[str, str] | None


class Ulimit(TypedDict):
    """A resource limit; -1 is unlimited."""

    Name: str
    Soft: int
    Hard: int


class MountSpec(TypedDict, total=False):
    """One ``--mount`` (or an API ``Mounts`` entry): Type is bind, volume or tmpfs."""

    Type: str
    Source: str
    Target: str
    ReadOnly: bool
    Consistency: str
    BindOptions: dict[str, Any]
    TmpfsOptions: dict[str, Any]
    VolumeOptions: dict[str, Any]


class ThrottleDevice(TypedDict):
    """A block device's rate limit, bytes or operations per second."""

    Path: str
    Rate: int


class HugetlbLimit(TypedDict):
    """How much of memory in huge pages of one size."""

    PageSize: str
    """Such as ``2MB``."""
    Limit: int
    """Bytes."""


class WeightDevice(TypedDict):
    """A block device's share, 10 to 1000."""

    Path: str
    Weight: int


class IpamConfig(TypedDict, total=False):
    """Addresses that were asked for; left out: the engine's choice."""

    IPv4Address: str
    IPv6Address: str
    LinkLocalIPs: list[str]


class EndpointConfig(TypedDict):
    """What was asked for on one network."""

    IPAMConfig: IpamConfig | None
    Links: list[str] | None
    Aliases: list[str] | None
    MacAddress: str
    DriverOpts: dict[str, str] | None
    GwPriority: int


class IDMappings(TypedDict):
    """A user namespace's maps, of ``CONTAINER_ID:HOST_ID:COUNT`` (Podman's field)."""

    UidMap: list[str]
    GidMap: list[str]


class ExecCpuAffinity(TypedDict):
    """CPU lists for processes that are added to a container; empty says nothing."""

    Initial: str
    """Of the runtime, until it is in the container's control group."""
    Final: str
    """Of the process."""


class HostConfig(TypedDict):
    """How it runs on this host."""

    Binds: list[str]
    Mounts: list[MountSpec]
    Tmpfs: dict[str, str]
    VolumesFrom: list[str]
    VolumeDriver: NotRequired[str]
    Links: NotRequired[list[str] | None]
    ContainerIDFile: str
    LogConfig: LogConfig
    NetworkMode: str
    PortBindings: dict[str, list[dict[str, str]]]
    PublishAllPorts: bool
    RestartPolicy: RestartPolicy
    AutoRemove: bool
    CapAdd: list[str]
    CapDrop: list[str]
    CgroupnsMode: str
    CgroupParent: str
    Dns: list[str]
    DnsOptions: list[str]
    DnsSearch: list[str]
    ExtraHosts: list[str]
    GroupAdd: list[str]
    IpcMode: str
    PidMode: str
    Profile: NotRequired[str]
    UTSMode: str
    UsernsMode: str
    StorageOpt: NotRequired[dict[str, str]]
    DiskQuota: NotRequired[dict[str, str]]
    QuotaId: NotRequired[str]
    IDMappings: NotRequired[IDMappings | None]
    OomScoreAdj: int
    Privileged: bool
    ReadonlyRootfs: bool
    SecurityOpt: list[str]
    ShmSize: int
    Sysctls: dict[str, str]
    Runtime: str
    Init: bool
    Annotations: dict[str, str]
    MaskedPaths: list[str] | None
    ReadonlyPaths: list[str] | None
    Devices: list[DeviceMapping]
    DeviceCgroupRules: list[str]
    DeviceRequests: NotRequired[list[DeviceRequest] | None]
    Ulimits: list[Ulimit]
    Memory: int
    MemoryReservation: int
    MemorySwap: int
    MemorySwappiness: int | None
    OomKillDisable: bool | None
    PidsLimit: int | None
    NanoCpus: int
    CpuShares: int
    CpuPeriod: int
    CpuQuota: int
    CpuRealtimePeriod: int
    CpuRealtimeRuntime: int
    CpusetCpus: str
    CpusetMems: str
    NumaNode: NotRequired[str]
    Systemd: NotRequired[str]
    ExecCPUAffinity: NotRequired[ExecCpuAffinity]
    BlkioWeight: int
    BlkioWeightDevice: list[WeightDevice]
    BlkioDeviceReadBps: list[ThrottleDevice]
    BlkioDeviceWriteBps: list[ThrottleDevice]
    BlkioDeviceReadIOps: list[ThrottleDevice]
    BlkioDeviceWriteIOps: list[ThrottleDevice]
    HugetlbLimits: NotRequired[list[HugetlbLimit]]


class ExecConfig(TypedDict):
    """What ``exec`` runs in a container."""

    Cmd: list[str]
    Env: list[str]
    User: str
    WorkingDir: str
    Tty: bool
    AttachStdin: bool
    AttachStdout: bool
    AttachStderr: bool
    Privileged: bool
    DetachKeys: str
    ExecCPUAffinity: NotRequired[ExecCpuAffinity]


def container_config(image: str = "") -> ContainerConfig:
    """A configuration with every default."""
    return {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {},
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": [],
        "Cmd": None,
        "Image": image,
        "Volumes": {},
        "WorkingDir": "",
        "Entrypoint": None,
        "Labels": {},
        "StopSignal": "",
        "StopTimeout": None,
        "Healthcheck": None,
        "OnBuild": [],
        "Shell": None,
    }


def host_config() -> HostConfig:
    """A host configuration with every default; zero, empty and None mean 'not set'."""
    return {
        "Binds": [],
        "Mounts": [],
        "Tmpfs": {},
        "VolumesFrom": [],
        "Links": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "",
        "PortBindings": {},
        "PublishAllPorts": False,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "CapAdd": [],
        "CapDrop": [],
        "CgroupnsMode": "",
        "CgroupParent": "",
        "Dns": [], "DnsOptions": [], "DnsSearch": [],
        "ExtraHosts": [],
        "GroupAdd": [],
        "IpcMode": "",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "OomScoreAdj": 0,
        "Privileged": False,
        "ReadonlyRootfs": False,
        "SecurityOpt": [],
        "ShmSize": 0,
        "Sysctls": {},
        "Runtime": "",
        "Init": False,
        "Annotations": {},
        "MaskedPaths": None, "ReadonlyPaths": None,
        "Devices": [],
        "DeviceCgroupRules": [], "DeviceRequests": None,
        "Ulimits": [],
        "Memory": 0,
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "MemorySwappiness": None,
        "OomKillDisable": None,
        "PidsLimit": None,
        "NanoCpus": 0,
        "CpuShares": 0,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": "",
        "CpusetMems": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
    }


def endpoint_config() -> EndpointConfig:
    """An endpoint with every default: the engine chooses."""
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "MacAddress": "",
        "DriverOpts": None,
        "GwPriority": 0,
    }


def exec_config(cmd: list[str]) -> ExecConfig:
    """An exec with every default."""
    return {
        "Cmd": cmd,
        "Env": [],
        "User": "",
        "WorkingDir": "",
        "Tty": False,
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Privileged": False,
        "DetachKeys": "",
    }
