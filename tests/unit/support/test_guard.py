"""The guard itself: what it refuses, what it lets pass."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from runengine.linux import libc, mount
from tests.support.guard import GUARD, SideEffect, is_local


@pytest.fixture
def _refusals_wanted():
    yield
    GUARD.refused.clear()


@pytest.mark.usefixtures("_refusals_wanted")
@pytest.mark.parametrize(
    "act",
    [
        lambda: subprocess.run(["true"], check=True),
        lambda: os.system("true"),
        os.fork,
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: libc.mount("none", "/nonexistent", "tmpfs", 0, None),
        lambda: mount.unmount("/nonexistent"),
        lambda: libc.syscall("fsopen", libc.SYS_FSOPEN, b"tmpfs", 0),
    ],
)
def test_side_effects_are_refused(act):
    with pytest.raises(SideEffect):
        act()


@pytest.mark.usefixtures("_refusals_wanted")
def test_network_beyond_loopback_is_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(SideEffect):
        sock.connect(("192.0.2.1", 9))


def test_loopback_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            pass
        assert is_local(server, server.getsockname())


def test_netlink_is_not_local():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        assert not is_local(sock, (0, 0))


def test_openat2_is_allowed(tmp_path):
    fd = libc.openat2(-100, str(tmp_path), os.O_PATH)
    os.close(fd)
