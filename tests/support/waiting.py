"""Waiting for what is about to be so: no test sleeps and hopes."""

from __future__ import annotations

import time
from typing import Any

from tests.support.command_line import TIMEOUT_S

INTERVAL_S = 0.02


def wait_for(condition: Any, what: str = "what is waited for is so") -> None:
    """Look again and again until it holds; ``what`` says what that means."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_S} s: {what}"
        time.sleep(INTERVAL_S)
