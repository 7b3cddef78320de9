"""What is said to the kernel about links, addresses and routes (rtnetlink(7)), by pyroute2.

Only pyroute2's descriptions of the messages are used. The package's own ``__init__`` imports all
that it can do, with asyncio, multiprocessing and a database, which takes longer than making the
network of a container. So the package is put in place unexecuted: its submodules are imported as
ever, and whoever asks for one of its own names (``from pyroute2 import IPRoute``) has it executed.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

CREATE = 0x600
"""NLM_F_CREATE and NLM_F_EXCL: it must not be there yet."""
REPLACE = 0x500
"""NLM_F_CREATE and NLM_F_REPLACE: take the place of the one that is there."""
DUMP = 0x300
"""NLM_F_DUMP: all of them."""

IFF_UP = 0x1
UP = {"flags": IFF_UP, "change": IFF_UP}
"""Fields of a link that shall be up."""

Attributes = list[tuple[str, Any]]
"""Names as in the kernel's headers, and values; ``nested`` makes a value of attributes."""


def request(
    command: int,
    attributes: Attributes,
    fields: Mapping[str, int] | None = None,
    *,
    flags: int = 0,
) -> bytearray:
    """One message; ``fields`` are those of the command's fixed part, by pyroute2's names."""
    message = _classes()[command // 4]()
    for name, value in (fields or {}).items():
        message[name] = value
    message["attrs"] = attributes
    message["header"]["type"] = command
    message["header"]["flags"] = flags
    message.encode()
    return bytearray(message.data)


def nested(*attributes: tuple[str, Any]) -> dict[str, Attributes]:
    """A value that is a list of attributes itself."""
    return {"attrs": list(attributes)}


def parse(data: bytes | bytearray | memoryview, kind: int) -> Any:
    """pyroute2's object for a message of the kernel's; ``kind`` is its type."""
    message = _classes()[kind // 4](bytes(data))
    message.decode()
    return message


def load() -> None:
    """Have pyroute2 in memory, for processes that are forked from this one."""
    _classes()


@functools.cache
def _classes() -> dict[int, Any]:
    """The class of each group of commands: new, delete, get and set come in fours."""
    _put_in_place("pyroute2")
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.ndmsg import ndmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    classes: Sequence[Any] = (ifinfmsg, ifaddrmsg, rtmsg, ndmsg)
    return dict(enumerate(classes, RTM_NEWLINK // 4))


def _put_in_place(name: str) -> None:
    """Make the package importable from without executing it, unless somebody has already."""
    if name in sys.modules:
        return
    from importlib import util

    spec = util.find_spec(name)
    if spec is None:
        return  # the import that follows says so
    package = util.module_from_spec(spec)
    package.__dict__["__getattr__"] = _Rest(package)
    sys.modules.setdefault(name, package)


class _Rest:
    """The package's ``__getattr__`` (PEP 562): imports what is not there yet when asked for it."""

    def __init__(self, package: ModuleType) -> None:
        import threading

        self._package = package
        self._lock = threading.RLock()
        self._begun = False

    def __call__(self, name: str) -> Any:
        import importlib

        module = f"{self._package.__name__}.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
        with self._lock:
            self._execute()
        if name in self._package.__dict__:
            return self._package.__dict__[name]
        raise AttributeError(f"module {self._package.__name__!r} has no attribute {name!r}")

    def _execute(self) -> None:
        spec = self._package.__spec__
        if self._begun or spec is None or spec.loader is None:
            return
        self._begun = True
        try:
            spec.loader.exec_module(self._package)
        except BaseException:
            self._begun = False
            raise
