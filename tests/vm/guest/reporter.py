"""A pytest plugin for the guest: a line of JSON for each test on the second serial line."""

from __future__ import annotations

import json
import os
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PORT = "/dev/ttyS1"
TEXT_LIMIT = 20_000
"""Characters of one report; serial lines are slow."""
_began: dict[str, float] = {}
_reports: dict[str, list[pytest.TestReport]] = {}


def say(message: dict[str, Any]) -> None:
    """Write one line."""
    fd = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
    try:
        attributes = termios.tcgetattr(fd)
        attributes[1] &= ~termios.OPOST
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
        data = b"\n" + json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(fd, data) :]
        termios.tcdrain(fd)
    finally:
        os.close(fd)


def pytest_collection_finish(session: pytest.Session) -> None:
    say({"collected": [item.nodeid for item in session.items]})


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        say({"broken": str(report.longrepr)[-TEXT_LIMIT:]})


def pytest_runtest_logstart(nodeid: str) -> None:
    _began[nodeid] = time.time()
    _reports[nodeid] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _reports[report.nodeid].append(report)


def pytest_runtest_logfinish(nodeid: str) -> None:
    reports = _reports.pop(nodeid)
    failed = [report for report in reports if report.failed]
    skipped = [report for report in reports if report.skipped]
    outcome, text = "passed", ""
    if failed:
        outcome = "failed"
        text = "\n".join(str(report.longrepr) for report in failed)
        text = f"{text[-TEXT_LIMIT:]}\n--- journal\n{journal(_began[nodeid])}"
    elif skipped:
        outcome = "skipped"
        text = str(skipped[0].longrepr[2] if isinstance(skipped[0].longrepr, tuple) else "")
    seconds = round(time.time() - _began.pop(nodeid), 1)
    say({"test": nodeid, "outcome": outcome, "seconds": seconds, "text": text})


def journal(since: float) -> str:
    """The end of what the guest's journal got since then, without our own lines."""
    command = ["journalctl", "--no-pager", "-o", "short-monotonic", f"--since=@{since:.0f}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "\n".join(done.stdout.splitlines()[-80:])[-TEXT_LIMIT:]
