"""The system manager: what this engine and this host are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runengine import __version__
from runengine.linux import clock, kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runengine.config import Config
    from runengine.mgr.check.run import Report
    from runengine.mgr.container.context import Context
    from runengine.mgr.event_stream import Subscription

API_VERSION = "1.47"
RUNTIME_TIMEOUT_S = 10


class SystemMgr:
    """Facts about the engine and the host, in Docker's shapes."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def auth(self, document: dict[str, Any]) -> dict[str, str]:
        """Docker's ``/auth``: whether a registry takes these credentials; nothing is kept.

        ``document`` has ``username`` and ``password``, or ``identitytoken``, and
        ``serveraddress``, by default Docker Hub. Raises Unauthorized, Unavailable,
        InvalidParameter.
        """
        from runengine.mgr.registry import login

        return login.auth(self._context.config, document)

    def version(self) -> dict[str, Any]:
        """Docker's ``/version``, with the runtime's own version beside the engine's."""
        from runengine.registry import platform

        uname = os.uname()
        name = self._context.config.default_runtime
        return {
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": API_VERSION,
            "Platform": {"Name": "runengine"},
            "Os": "linux",
            "Arch": platform.native().architecture,
            "KernelVersion": uname.release,
            "Components": [
                {"Name": "Engine", "Version": __version__},
                {"Name": name, "Version": self._runtime_version(name)},
            ],
        }

    def _runtime_version(self, name: str) -> str:
        import subprocess

        program = self._context.config.runtimes.get(name, [name])[0]
        try:
            done = subprocess.run(
                [program, "--version"],
                capture_output=True,
                text=True,
                timeout=RUNTIME_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return "not found"
        words = done.stdout.split()
        return words[2] if len(words) > 2 else done.stdout.strip()

    def info(self) -> dict[str, Any]:
        """Docker's ``/info``: counts, host, limits of the kernel, settings."""
        import psutil

        from runengine.cgroups import features

        here = kernel.probe()
        config = self._context.config
        can = features.probe()
        uname = os.uname()
        return {
            "ID": clock.boot_id(),
            "Name": uname.nodename,
            "ServerVersion": __version__,
            **self._counts(),
            "Images": len(self._context.store.images.all()),
            "Driver": "overlay",
            "DriverStatus": [["Backing Filesystem", _filesystem(config.paths.root)]],
            "LoggingDriver": config.log_driver,
            "CgroupDriver": config.cgroup_driver,
            "CgroupVersion": str(here.cgroup_version),
            "KernelVersion": here.release,
            "OperatingSystem": _os_release("PRETTY_NAME"),
            "OSType": "linux",
            "Architecture": uname.machine,
            "NCPU": psutil.cpu_count() or 1,
            "MemTotal": psutil.virtual_memory().total,
            "DockerRootDir": config.paths.root,
            "StateDir": config.paths.state,
            "Runtimes": {name: {"path": argv[0]} for name, argv in config.runtimes.items()},
            "DefaultRuntime": config.default_runtime,
            "SecurityOptions": _security_options(here),
            "Warnings": _warnings(can),
            "LiveRestoreEnabled": True,
            "SystemTime": clock.now(),
            **_limits(can),
            **_what_scripts_ask_for(config),
            "RegistryConfig": {
                "InsecureRegistries": config.insecure_registries,
                "Mirrors": config.mirrors,
            },
        }

    def disk_usage(self) -> dict[str, Any]:
        """Docker's ``/system/df``. See ``mgr.disk_usage``."""
        from runengine.mgr import disk_usage

        return disk_usage.disk_usage(self._context)

    def check(self, *, repair: bool = False) -> Report:
        """Compare records, mounts, layers, volumes, cgroups, links and processes.

        With ``repair`` put right what can be put right. See ``mgr.check``.
        """
        from runengine.mgr.check import run

        return run.check(self._context, repair=repair)

    def subscribe_to_events(
        self,
        since: int | float | str | None = None,
        until: int | float | str | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
        *,
        follow: bool = True,
        on_gap: Callable[[], None] | None = None,
    ) -> Subscription:
        """Docker's event messages, an iterator: new ones from this call on.

        With ``since`` or ``until`` (nanoseconds, seconds as float, or what ``parse_time`` takes)
        also those of the past, in the order in which they were written; it ends with ``until``,
        and without ``follow`` when all that is there was given. ``on_gap`` is called where a
        reader fell behind by the whole journal. Raises InvalidParameter.
        """
        from runengine.mgr.event_stream import subscribe

        return subscribe(
            self._context.events.path,
            since=since,
            until=until,
            filters=filters,
            follow=follow,
            on_gap=on_gap,
        )

    def _counts(self) -> dict[str, int]:
        from runengine.mgr.container import observe

        seen = [
            observe.observe(self._context, record)["Status"]
            for record in self._context.store.containers.all()
        ]
        return {
            "Containers": len(seen),
            "ContainersRunning": seen.count("running"),
            "ContainersPaused": seen.count("paused"),
            "ContainersStopped": len(seen) - seen.count("running") - seen.count("paused"),
        }


def _limits(can: Any) -> dict[str, bool]:
    """Which limits this kernel keeps, under Docker's names."""
    return {
        "MemoryLimit": can.memory,
        "SwapLimit": can.memory_swap,
        "CpuCfsPeriod": can.cpu_period,
        "CpuCfsQuota": can.cpu_quota,
        "CPUShares": can.cpu_shares,
        "CPUSet": can.cpuset_cpus,
        "PidsLimit": can.pids,
        "OomKillDisable": can.oom_kill_disable,
    }


def _what_scripts_ask_for(config: Config) -> dict[str, Any]:
    """What is always so here, or told elsewhere, and scripts look for by Docker's names."""
    from runengine.mgr.log_options import DRIVERS
    from runengine.mgr.network.create import DRIVERS as NETWORKS
    from runengine.mgr.volume.drivers import BUILTIN

    return {
        "Plugins": {
            "Volume": [*BUILTIN, *sorted(config.volume_plugins)],
            "Network": sorted({*NETWORKS, "host", "null"}),
            "Authorization": None,
            "Log": list(DRIVERS),
        },
        "Swarm": {"LocalNodeState": "inactive", "ControlAvailable": False, "NodeID": ""},
        "IndexServerAddress": "https://index.docker.io/v1/",
        "OSVersion": _os_release("VERSION_ID"),
        "Labels": [],
        "ExperimentalBuild": False,
        "Debug": False,
    }


def _os_release(key: str) -> str:
    import platform

    try:
        return platform.freedesktop_os_release().get(key, "<unknown>")
    except OSError:
        return "<unknown>"


def _filesystem(path: str) -> str:
    """Type of the file system that holds ``path``: the deepest mount above it."""
    from runengine.linux.mount import mounts

    above = [m for m in mounts() if m.target == "/" or f"{path}/".startswith(f"{m.target}/")]
    return max(above, key=lambda entry: len(entry.target)).fstype if above else "<unknown>"


def _security_options(here: kernel.Kernel) -> list[str]:
    options = []
    if here.seccomp:
        options.append("name=seccomp,profile=builtin")
    if here.apparmor:
        options.append("name=apparmor")
    if here.cgroup_version == 2:
        options.append("name=cgroupns")
    return options


def _warnings(can: Any) -> list[str]:
    return [f"WARNING: No {word} support" for word, there in can.summary().items() if not there]
