"""User namespaces with the installed service: cgroup v2, networks, this runc and kernel."""

from __future__ import annotations

import pytest

from tests.vm.guest import wires
from tests.vm.guest.installed import ok
from tests.vm.guest.wires import HOST_IP, get, web

pytestmark = pytest.mark.vm


def test_a_web_server_in_a_user_namespace(clean):
    wires.lay()
    web("web", "--userns=auto", "-p", "8080:80", "--sysctl", "net.ipv4.tcp_syncookies=0")
    assert get(f"http://{HOST_IP}:8080/") == "web"
    shown = ok("exec", "web", "cat", "/proc/self/uid_map", "/proc/sys/net/ipv4/tcp_syncookies")
    assert shown.split() == ["0", str(1 << 31), "65536", "0"]
    # Its network is its own: root inside may change it, if it has the capability.
    web("open", "--userns=auto:size=1000", "--cap-add", "NET_ADMIN")
    ok("exec", "open", "ip", "link", "set", "lo", "down")
    assert ok("exec", "open", "cat", "/sys/fs/cgroup/pids.max").strip() == "4096"
