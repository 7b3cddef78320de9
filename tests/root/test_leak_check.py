"""The leak check sees each kind of thing that a test can leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from runengine.linux import libc
from tests.support import leaks

pytestmark = pytest.mark.root


@pytest.fixture
def before():
    return leaks.take()


def found(before, own) -> str:
    return "\n".join(leaks.leaked(before, str(own), grace_s=0))


def test_nothing_leaked_is_nothing_found(before, tmp_path):
    assert found(before, tmp_path) == ""


def test_mount(before, tmp_path):
    libc.mount("none", str(tmp_path), "tmpfs", 0, None)
    try:
        assert f"{tmp_path} " in found(before, tmp_path)
    finally:
        libc.umount(str(tmp_path))


def test_descriptor(before, tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert f"descriptor {fd} -> {tmp_path}" in found(before, tmp_path)
    finally:
        os.close(fd)


def test_child(before, tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert f"process {child.pid}" in found(before, tmp_path)
    finally:
        child.kill()
        child.wait()


def test_orphan_without_environment(before, tmp_path):
    """A monitor: not our child any more, no environment, but our directory on its command line."""
    script = (
        "import subprocess, sys;"
        "print(subprocess.Popen(sys.argv[1:], env={}, stdout=subprocess.DEVNULL).pid)"
    )
    command = [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)]
    output = subprocess.run(
        [sys.executable, "-c", script, *command], stdout=subprocess.PIPE, check=True
    )
    pid = int(output.stdout)
    try:
        assert f"process {pid}" in found(before, tmp_path)
    finally:
        os.kill(pid, 9)


def test_grace_covers_what_is_on_its_way_out(before, tmp_path):
    with subprocess.Popen(["sleep", "0.3"]):
        assert leaks.leaked(before, str(tmp_path), grace_s=10) == []


def test_other_runs_are_seen(before, tmp_path):
    """Only what is surely ours counts while somebody else tests on this host."""
    script = ["sh", "-c", "read line", "sh", "/usr/bin/pytest"]
    other = subprocess.Popen(script, stdin=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 10
        while not leaks.other_test_runs() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert leaks.other_test_runs()
    finally:
        other.communicate()
