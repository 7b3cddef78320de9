"""Mounts that would cover what confines a container."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.oci_spec import destinations, mounts, validate
from tests.support import specs

REFUSED = ["/proc", "/proc/", "//proc", "/x/../proc", "/proc/sys", "/proc/self/attr", "/proc/x"]
ALLOWED = ["/procs", "/x/proc", "/proc/meminfo", "/proc/net/dev", "/sys", "/sys/fs/cgroup", "/dev"]


def check(**changes):
    validate.check(specs.config(), specs.host(**changes), specs.KERNEL)


@pytest.mark.parametrize("path", REFUSED)
def test_over_proc(path):
    for changes in (
        {"Binds": [f"/srv:{path}"]},
        {"Tmpfs": {path: ""}},
        {"Mounts": [{"Type": "bind", "Source": "/srv", "Target": path}]},
    ):
        with pytest.raises(InvalidParameter, match="would cover /proc"):
            check(**changes)


@pytest.mark.parametrize("path", ALLOWED)
def test_elsewhere(path):
    check(Binds=[f"/srv:{path}"])


def test_the_hosts_own_proc_is_what_it_says():
    check(Binds=["/proc:/proc"])
    with pytest.raises(InvalidParameter, match="would cover /proc"):
        check(Binds=["/proc/1:/proc"])


def test_where_a_link_leads_is_told():
    point = mounts.parse_bind("/srv:/link")
    with pytest.raises(InvalidParameter, match="/link, which leads to /proc/sys, is refused"):
        destinations.check(point, "/proc/sys")


@pytest.mark.parametrize("real", ["/", "/dev"])
def test_no_link_leads_to_where_the_runtime_makes_its_nodes(real):
    with pytest.raises(InvalidParameter, match=f"/link, which leads to {real}, is refused"):
        destinations.check(mounts.parse_bind("/srv:/link"), real)
    destinations.check(mounts.parse_bind("/srv:/link"), "/dev/link")
    destinations.check(mounts.parse_bind("/dev:/dev"), "/dev")
