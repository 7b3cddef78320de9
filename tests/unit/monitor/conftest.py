"""What the monitor's tests have in common."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from runengine.monitor.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop whose reports fail the test; the interpreter gets its signals back."""
    before = signal.getsignal(signal.SIGCHLD)
    made = Loop(pytest.fail)
    yield made
    for fd in (signal.set_wakeup_fd(-1), made._wake_fd):
        os.close(fd)
    signal.signal(signal.SIGCHLD, before)
