"""Models of the OCI runtime spec 1.2: config.md and config-linux.md, strict.

Python names are snake_case with the spec's names as aliases. Imported by tests, by
``runengine spec`` and for users' documents, never on the way of a start.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Uint16 = Annotated[int, Field(ge=0, le=(1 << 16) - 1, strict=True)]
Uint32 = Annotated[int, Field(ge=0, le=(1 << 32) - 1, strict=True)]
Uint64 = Annotated[int, Field(ge=0, le=(1 << 64) - 1, strict=True)]
Int64 = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1, strict=True)]
Absolute = Annotated[str, Field(pattern=r"^/")]
Capability = Annotated[str, Field(pattern=r"^CAP_[A-Z_]+$")]
RlimitType = Annotated[str, Field(pattern=r"^RLIMIT_[A-Z]+$")]


class Model(BaseModel):
    """Base: no unknown keys, the spec's camelCase names."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Root(Model):
    """config.md#root."""

    path: str
    readonly: bool = False


class IdMapping(Model):
    """config-linux.md#user-namespace-mappings."""

    container_id: Uint32 = Field(alias="containerID")
    host_id: Uint32 = Field(alias="hostID")
    size: Uint32


class Mount(Model):
    """config.md#mounts."""

    destination: Absolute
    type: str = ""
    source: str = ""
    options: list[str] = Field(default_factory=list)
    uid_mappings: list[IdMapping] | None = None
    gid_mappings: list[IdMapping] | None = None


class ConsoleSize(Model):
    """Characters."""

    height: Uint32
    width: Uint32


class User(Model):
    """config.md#posix-platform-user."""

    uid: Uint32
    gid: Uint32
    umask: Uint32 | None = None
    additional_gids: list[Uint32] = Field(default_factory=list)


class Rlimit(Model):
    """getrlimit(2)."""

    type: RlimitType
    soft: Uint64
    hard: Uint64


class Capabilities(Model):
    """capabilities(7)."""

    bounding: list[Capability] = Field(default_factory=list)
    effective: list[Capability] = Field(default_factory=list)
    inheritable: list[Capability] = Field(default_factory=list)
    permitted: list[Capability] = Field(default_factory=list)
    ambient: list[Capability] = Field(default_factory=list)


class Scheduler(Model):
    """sched_setattr(2)."""

    policy: Literal[
        "SCHED_OTHER",
        "SCHED_FIFO",
        "SCHED_RR",
        "SCHED_BATCH",
        "SCHED_ISO",
        "SCHED_IDLE",
        "SCHED_DEADLINE",
    ]
    nice: int | None = Field(default=None, ge=-20, le=19)
    priority: int | None = None
    flags: list[str] | None = None
    runtime: Uint64 | None = None
    deadline: Uint64 | None = None
    period: Uint64 | None = None


class IoPriority(Model):
    """ioprio_set(2)."""

    class_: Literal["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"] = Field(
        alias="class"
    )
    priority: int | None = Field(default=None, ge=0, le=7)


class ExecCpuAffinity(Model):
    """CPU lists for a process that is added to the container."""

    initial: str | None = None
    final: str | None = None


class Process(Model):
    """config.md#process."""

    terminal: bool = False
    console_size: ConsoleSize | None = None
    cwd: Absolute
    env: list[str] = Field(default_factory=list)
    args: list[str] = Field(min_length=1)
    rlimits: list[Rlimit] = Field(default_factory=list)
    apparmor_profile: str | None = None
    capabilities: Capabilities | None = None
    no_new_privileges: bool = False
    oom_score_adj: int | None = Field(default=None, ge=-1000, le=1000)
    scheduler: Scheduler | None = None
    selinux_label: str | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: ExecCpuAffinity | None = Field(default=None, alias="execCPUAffinity")
    user: User

    @model_validator(mode="after")
    def _unique_rlimits(self) -> Process:
        kinds = [limit.type for limit in self.rlimits]
        if len(kinds) != len(set(kinds)):
            raise ValueError("two rlimits of one type")
        return self


class Hook(Model):
    """config.md#posix-platform-hooks."""

    path: Absolute
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: int | None = Field(default=None, gt=0)


class Hooks(Model):
    """Programs run at points of the life cycle."""

    prestart: list[Hook] | None = None
    create_runtime: list[Hook] | None = None
    create_container: list[Hook] | None = None
    start_container: list[Hook] | None = None
    poststart: list[Hook] | None = None
    poststop: list[Hook] | None = None


class Namespace(Model):
    """config-linux.md#namespaces."""

    type: Literal["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]
    path: Absolute | None = None


class TimeOffset(Model):
    """time_namespaces(7)."""

    secs: Int64 = 0
    nanosecs: Uint32 = 0


class Device(Model):
    """config-linux.md#devices."""

    type: Literal["c", "b", "u", "p"]
    path: Absolute
    major: Int64 | None = None
    minor: Int64 | None = None
    file_mode: int | None = Field(default=None, ge=0, le=0o7777)
    uid: Uint32 | None = None
    gid: Uint32 | None = None


class DeviceRule(Model):
    """config-linux.md#allowed-device-list."""

    allow: bool
    type: Literal["a", "b", "c"] | None = None
    major: Int64 | None = None
    minor: Int64 | None = None
    access: str | None = Field(default=None, pattern=r"^[rwm]{1,3}$")


class Memory(Model):
    """config-linux.md#memory; bytes."""

    limit: Int64 | None = None
    reservation: Int64 | None = None
    swap: Int64 | None = None
    kernel: Int64 | None = None
    kernel_tcp: Int64 | None = Field(default=None, alias="kernelTCP")
    swappiness: int | None = Field(default=None, ge=0, le=100)
    disable_oom_killer: bool | None = Field(default=None, alias="disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class Cpu(Model):
    """config-linux.md#cpu; microseconds."""

    shares: Uint64 | None = None
    quota: Int64 | None = None
    burst: Uint64 | None = None
    period: Uint64 | None = None
    realtime_runtime: Int64 | None = None
    realtime_period: Uint64 | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: int | None = Field(default=None, ge=0, le=1)


class WeightDevice(Model):
    """A block device's share."""

    major: Int64
    minor: Int64
    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None


class ThrottleDevice(Model):
    """A block device's bytes or operations per second."""

    major: Int64
    minor: Int64
    rate: Uint64


class BlockIo(Model):
    """config-linux.md#block-io."""

    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None
    weight_device: list[WeightDevice] | None = None
    throttle_read_bps_device: list[ThrottleDevice] | None = None
    throttle_write_bps_device: list[ThrottleDevice] | None = None
    throttle_read_iops_device: list[ThrottleDevice] | None = Field(
        default=None, alias="throttleReadIOPSDevice"
    )
    throttle_write_iops_device: list[ThrottleDevice] | None = Field(
        default=None, alias="throttleWriteIOPSDevice"
    )


class HugepageLimit(Model):
    """config-linux.md#huge-page-limits."""

    page_size: str = Field(pattern=r"^[1-9][0-9]*[KMG]B$")
    limit: Uint64


class InterfacePriority(Model):
    """An interface's net_prio."""

    name: str
    priority: Uint32


class Network(Model):
    """config-linux.md#network."""

    class_id: Uint32 | None = Field(default=None, alias="classID")
    priorities: list[InterfacePriority] | None = None


class Pids(Model):
    """config-linux.md#pids; -1 is unlimited."""

    limit: Int64


class Rdma(Model):
    """config-linux.md#rdma, per device."""

    hca_handles: Uint32 | None = None
    hca_objects: Uint32 | None = None


class Resources(Model):
    """config-linux.md#control-groups."""

    devices: list[DeviceRule] | None = None
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIo | None = Field(default=None, alias="blockIO")
    hugepage_limits: list[HugepageLimit] | None = None
    network: Network | None = None
    rdma: dict[str, Rdma] | None = None
    unified: dict[str, str] | None = None


class IntelRdt(Model):
    """config-linux.md#intelrdt."""

    clos_id: str | None = Field(default=None, alias="closID")
    l3_cache_schema: str | None = Field(default=None, alias="l3CacheSchema")
    mem_bw_schema: str | None = None
    enable_cmt: bool | None = Field(default=None, alias="enableCMT")
    enable_mbm: bool | None = Field(default=None, alias="enableMBM")


class MemoryPolicy(Model):
    """config-linux.md#memory-policy."""

    mode: Literal[
        "MPOL_DEFAULT",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_WEIGHTED_INTERLEAVE",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_LOCAL",
    ]
    nodes: str = ""
    flags: list[
        Literal["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]
    ] | None = None


SeccompAction = Literal[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]
SeccompArch = Literal[
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
]
SeccompOperator = Literal[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]


SeccompFlag = Literal[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]


class SeccompArg(Model):
    """A comparison with an argument; with MASKED_EQ ``value`` is the mask."""

    index: int = Field(ge=0, le=5)
    value: Uint64
    value_two: Uint64 | None = None
    op: SeccompOperator


class SeccompSyscall(Model):
    """A rule for some system calls."""

    names: list[str] = Field(min_length=1)
    action: SeccompAction
    errno_ret: Uint32 | None = None
    args: list[SeccompArg] | None = None


class Seccomp(Model):
    """config-linux.md#seccomp."""

    default_action: SeccompAction
    default_errno_ret: Uint32 | None = None
    architectures: list[SeccompArch] | None = None
    flags: list[SeccompFlag] | None = None
    listener_path: str | None = None
    listener_metadata: str | None = None
    syscalls: list[SeccompSyscall] | None = None


class Personality(Model):
    """personality(2)."""

    domain: Literal["LINUX", "LINUX32"]
    flags: list[str] | None = None


Propagation = Literal[
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
]


class Linux(Model):
    """config-linux.md."""

    namespaces: list[Namespace] | None = None
    uid_mappings: list[IdMapping] | None = None
    gid_mappings: list[IdMapping] | None = None
    time_offsets: dict[str, TimeOffset] | None = None
    devices: list[Device] | None = None
    cgroups_path: str | None = None
    resources: Resources | None = None
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None
    sysctl: dict[str, str] | None = None
    seccomp: Seccomp | None = None
    rootfs_propagation: Propagation | None = None
    masked_paths: list[Absolute] | None = None
    readonly_paths: list[Absolute] | None = None
    mount_label: str | None = None
    personality: Personality | None = None

    @model_validator(mode="after")
    def _unique_namespaces(self) -> Linux:
        kinds = [namespace.type for namespace in self.namespaces or ()]
        if len(kinds) != len(set(kinds)):
            raise ValueError("two namespaces of one type")
        return self


class Spec(Model):
    """config.md: the whole ``config.json`` of a Linux container."""

    oci_version: str = Field(pattern=r"^1\.[0-9]+\.[0-9]+")
    root: Root | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: list[Mount] = Field(default_factory=list)
    process: Process | None = None
    hooks: Hooks | None = None
    annotations: dict[str, str] | None = None
    linux: Linux | None = None
