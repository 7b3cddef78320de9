"""Settings of one engine: defaults, then the configuration file."""

from __future__ import annotations

import marshal
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter
from runengine.linux.fsatomic import read_optional

if TYPE_CHECKING:
    from runengine.paths import Paths

DEFAULT_FILE = "/etc/runengine/config.json"
DEFAULT_PIDS_LIMIT = 4096
MIN_MEMORY_BYTES = 4 << 20
MAX_LAYER_BYTES = 256 << 30
USERNS_POOL = (1 << 31, 1 << 30)
CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
CERTS_DIRECTORIES = ("/etc/runengine/certs.d", "/etc/docker/certs.d")
CGROUP_DRIVERS = ("cgroupfs", "systemd")
"""Who makes containers' cgroups: the runtime itself, or systemd for it."""


class Config(NamedTuple):
    """Everything an operator can set for the whole engine."""

    paths: Paths
    runtimes: dict[str, list[str]]  # name → argv
    insecure_registries: list[str]
    mirrors: dict[str, list[str]]  # reference prefix → endpoints, tried in order
    log_opts: dict[str, str]
    default_runtime: str = "runc"
    log_driver: str = "cri"
    default_pids_limit: int = DEFAULT_PIDS_LIMIT
    min_memory_bytes: int = MIN_MEMORY_BYTES
    cgroup_driver: str = "cgroupfs"  # of new containers; each keeps its own
    cgroup_parent: str = ""  # empty: /runengine, or system.slice with systemd
    default_network: str = "bridge"  # of containers that name none
    default_address_pools: tuple[tuple[str, int], ...] = ()  # base, size of subnets; (): usual
    publish_addresses: tuple[str, ...] = ()  # of ports published at none; (): all of the host's
    userns: str = ""  # of containers that say nothing: host (or empty), auto, auto:size=N
    userns_pool: tuple[int, int] = USERNS_POOL  # first id and how many, for auto
    cdi_spec_dirs: tuple[str, ...] = CDI_DIRECTORIES  # later ones hide what is in earlier ones
    hooks_dirs: tuple[str, ...] = ()  # later ones hide files of earlier ones
    certs_dirs: tuple[str, ...] = CERTS_DIRECTORIES  # HOST[:PORT]/ with certificates, in order
    search_registry: str = "docker.io"  # of searches that name none
    max_concurrent_downloads: int = 0  # layers of one pull at once; 0: by the processors
    max_layer_bytes: int = MAX_LAYER_BYTES  # uncompressed; more is taken for a bomb
    builder: str = ""  # buildah, docker-buildx or buildctl; empty: the first that is installed
    volume_plugins: dict[str, str] = {}  # noqa: RUF012 - name → socket of a plugin
    metrics_address: str = ""  # HOST:PORT or unix:/path; empty: no metrics server


_known: dict[tuple[str, bytes], bytes] = {}
"""What files say, by path and content, as ``marshal`` writes it: each asker gets his own."""


def check_cgroup_driver(name: str) -> str:
    """``name``, if there is such a driver. Raises InvalidParameter."""
    if name not in CGROUP_DRIVERS:
        raise InvalidParameter(
            f"unknown cgroup driver {name!r}", resolution=f"one of {', '.join(CGROUP_DRIVERS)}"
        )
    return name


def defaults(paths: Paths) -> Config:
    """Settings of a host without a configuration file."""
    return Config(paths, {"runc": ["runc"]}, [], {}, {})


def load(paths: Paths) -> Config:
    """Settings from ``$RUNENGINE_CONFIG`` or /etc/runengine/config.json over the defaults.

    Raises InvalidParameter if the file named by the variable is missing, or a file is not valid.
    """
    named = os.environ.get("RUNENGINE_CONFIG")
    path = named or DEFAULT_FILE
    data = read_optional(path)
    if data is None:
        if named:
            raise InvalidParameter(f"configuration file {path} (RUNENGINE_CONFIG) does not exist")
        return defaults(paths)
    return defaults(paths)._replace(**_settings(path, data))


def _settings(path: str, data: bytes) -> dict[str, Any]:
    """What a file with this content says. Raises InvalidParameter."""
    known = _known.get((path, data))
    if known is None:
        # Only here, because pydantic costs every command 40 ms and most hosts have no file.
        from runengine.settings import parse_settings

        known = _known[path, data] = marshal.dumps(parse_settings(data, path))
    settings: dict[str, Any] = marshal.loads(known)  # noqa: S302 - our own
    return settings


def load_apart(paths: Paths) -> Config:
    """``load`` for a process with one thread that is to stay without pydantic, 9 MiB.

    A child reads the file; what it says is known here then, and in all that are forked later.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            load(paths)
            with os.fdopen(writer, "wb") as pipe:
                marshal.dump(_known, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    if answer:
        _known.update(marshal.loads(answer))  # noqa: S302 - our own
    return load(paths)  # without an answer it says why
