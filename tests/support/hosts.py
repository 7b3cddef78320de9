"""Hosts of a test's own: network namespaces with a wire between them, and an engine on one.

Nothing that an engine does to its host's network (bridges, firewall, sysctls) then reaches the
machine that the tests run on, and traffic goes nowhere else.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.support.command_line import TIMEOUT_S, CommandLine, Done, WarmCommandLine

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

# With the namespace's own links in /sys, and the cgroups where they were.
_HOLD = """
set -e
mount --rbind /sys/fs/cgroup "$1"
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount --rbind "$1" /sys/fs/cgroup
umount -l "$1"
ip link set lo up
echo ready
exec sleep infinity
"""


class Host:
    """A network namespace (and a mount namespace, for its /sys) that lives until ``close``."""

    def __init__(self, directory: Path) -> None:
        place = directory / "cgroups"
        place.mkdir(parents=True)
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private",
             "sh", "-c", _HOLD, "sh", str(place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the namespaces go."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    @property
    def pid(self) -> int:
        """A process in the namespaces."""
        return self._holder.pid

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` on this host."""
        return ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "--", *words]

    def call(self, *words: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> Done:
        """Run a program to its end."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, stdin: str = "") -> str:
        """Run what must succeed; its output without the last newline."""
        done = self.call(*words, stdin=stdin)
        assert done.code == 0, done
        return done.out.removesuffix("\n")

    def python(self, script: str, *arguments: str) -> str:
        """The output of a Python script that must succeed."""
        return self.ok(sys.executable, "-I", "-S", "-c", script, *arguments)

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program; the caller waits for it."""
        return subprocess.Popen(self.command(*words), **options)


def wire(one: Host, address: str, other: Host, other_address: str, *more: str) -> None:
    """Connect two hosts by a veth pair; addresses with prefix lengths, ``more`` are pairs too."""
    number = one.ok("sh", "-c", "ls /sys/class/net | grep -c ^wire || true")
    name = f"wire{number}"
    one.ok("ip", "link", "add", name, "type", "veth", "peer", "name", "wire", "netns",
           str(other.pid))
    pairs = [address, other_address, *more]
    for mine, theirs in zip(pairs[::2], pairs[1::2], strict=True):
        for host, device, text in ((one, name, mine), (other, "wire", theirs)):
            host.ok("ip", "address", "add", text, "dev", device, "nodad")
    one.ok("ip", "link", "set", name, "up")
    other.ok("ip", "link", "set", "wire", "up")


class _OnHost:
    """A command line whose calls are made on a host; the default network is the engine's own."""

    host: Host
    config: Path

    def _move_to(self, host: Host) -> None:
        self.host = host

    def pid_of(self, name: str) -> int:
        """Pid of a container's init."""
        return int(self.ok("inspect", "--format", "{{.State.Pid}}", name))  # type: ignore[attr-defined]

    def address_of(self, name: str, network: str = "bridge", field: str = "IPAddress") -> str:
        """What a container has on a network."""
        form = f'{{{{(index .NetworkSettings.Networks "{network}").{field}}}}}'
        return str(self.ok("inspect", "--format", form, name))  # type: ignore[attr-defined]


class HostCommandLine(_OnHost, CommandLine):
    """The command line, cold, on a host of its own."""

    def __init__(self, directory: Path, host: Host) -> None:
        self._move_to(host)
        CommandLine.__init__(self, directory)
        self.config.write_text("{}")

    def command(self, *arguments: str) -> list[str]:  # type: ignore[override]
        """The command line of ``runengine ARGUMENTS`` on the host."""
        return self.host.command(*CommandLine.command(*arguments))


class WarmHostCommandLine(_OnHost, WarmCommandLine):
    """The same with a service."""

    def __init__(self, directory: Path, host: Host) -> None:
        self._move_to(host)
        CommandLine.__init__(self, directory)
        self.config.write_text("{}")
        self.log = directory / "service.log"
        self.service = self.serve()

    def command(self, *arguments: str) -> list[str]:  # type: ignore[override]
        """The command line of ``runengine ARGUMENTS`` on the host."""
        return self.host.command(*WarmCommandLine.command(*arguments))
