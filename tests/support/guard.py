"""Keeps unit tests from touching the host: no process, no mount, no network but loopback.

An audit hook (PEP 578) sees every way into the interpreter's own calls, however a module
imported them. Mounts go through ctypes, which the hook cannot see, so those are replaced.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from runengine.linux import libc

if TYPE_CHECKING:
    import pytest

_PROCESS_EVENTS = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
}
_ADDRESS_EVENTS = {"socket.bind", "socket.connect", "socket.sendmsg", "socket.sendto"}


class SideEffect(AssertionError):
    """A unit test tried to act on the host."""


class Guard:
    """Refuses side effects while armed and remembers them, as code under test may swallow them."""

    def __init__(self) -> None:
        self.armed = False
        self.refused: list[str] = []
        sys.addaudithook(self._audit)

    def arm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Forbid side effects from now on."""
        self.refused = []
        for name in ("mount", "umount"):
            monkeypatch.setattr(libc, name, self._refuser(name))
        monkeypatch.setattr(libc, "_syscall", self._checked_syscall(libc._syscall))
        self.armed = True

    def disarm(self) -> list[str]:
        """Allow them again; returns what was refused."""
        self.armed = False
        return self.refused

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in _PROCESS_EVENTS:
            self._refuse(f"{event} {args[0] if args else ''}")
        if event in _ADDRESS_EVENTS and not is_local(args[0], args[1]):
            self._refuse(f"{event} {args[1]}")

    def _refuse(self, what: str) -> NoReturn:
        self.refused.append(what)
        raise SideEffect(f"a unit test may not: {what} (use a fake, or make it a root test)")

    def _refuser(self, name: str) -> Any:
        def refuse(*args: Any, **_keywords: Any) -> NoReturn:
            self._refuse(f"{name} {args}")

        return refuse

    def _checked_syscall(self, real: Any) -> Any:
        def call(number: Any, *args: Any) -> Any:
            if getattr(number, "value", number) != libc.SYS_OPENAT2:
                self._refuse(f"system call {getattr(number, 'value', number)}")
            return real(number, *args)

        return call


def is_local(sock: Any, address: Any) -> bool:
    """Whether the address cannot leave this host, nor change it (netlink)."""
    if sock.family == socket.AF_UNIX:
        return True
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host = address[0] if isinstance(address, tuple) and address else ""
    return host in ("localhost", "::1") or str(host).startswith("127.")


GUARD = Guard()
"""The one guard of this interpreter: audit hooks cannot be removed."""
