"""What the service weighs at rest, and what stays in a worker that has used a large library."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import needs
from tests.support.service import Service
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay"), pytest.mark.timeout(120)]

MOST_MIB = 60.0
"""DESIGN's budget; 40 beside other interpreters, 48 without them, when this was written."""
LARGE = ("_pydantic_core", "libssl", "_psutil")
NOWHERE = "127.0.0.1:1/nowhere"


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    service.close()


def at_rest(service):
    wait_for(lambda: service.workers() == service.waiting() and len(service.waiting()) == 1)
    return [service.pid, *service.children()]


def pss_mib(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def large_in(pid):
    text = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in LARGE if name in text}


def test_the_service_is_small_at_rest(service):
    service.ok("ps")
    pids = at_rest(service)
    assert len(pids) == 3  # with the process that monitors are forked from
    assert sum(map(pss_mib, pids)) < MOST_MIB
    assert not set().union(*map(large_in, pids))


def test_whoever_has_gone_to_a_registry_is_ready_to_go_again(service):
    assert service.call("pull", NOWHERE).code == 1
    wait_for(lambda: any(map(large_in, service.waiting())))
    [ready] = filter(large_in, service.waiting())
    assert not large_in(service.pid)
    assert service.call("pull", NOWHERE).code == 1
    wait_for(lambda: ready in service.waiting())
    assert list(filter(large_in, service.waiting())) == [ready]
