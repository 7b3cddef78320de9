"""What the kernel says of links, addresses and routes (rtnetlink(7)), read by pyroute2.

Only pyroute2's descriptions of the messages are used. The package's own ``__init__`` imports all
that it can do, with asyncio, multiprocessing and a database, which takes longer than making the
network of a container. So the package is put in place unexecuted: its submodules are imported as
ever, and whoever asks for one of its own names (``from pyroute2 import IPRoute``) has it executed.
Even so it takes 35 ms of CPU time: a start reads the few bytes that it needs by itself.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from runengine.netns.messages import RTM_NEWLINK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


def parse(data: bytes | bytearray | memoryview, kind: int) -> Any:
    """pyroute2's object for a message of the kernel's; ``kind`` is its type."""
    message = _classes()[kind // 4](bytes(data))
    message.decode()
    return message


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
