"""The guest is what these tests are for: systemd, cgroup v2, AppArmor, quota, pressure."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runengine.cgroups import features, layout
from runengine.linux import kernel

pytestmark = pytest.mark.vm


def test_systemd_runs_and_has_started_everything():
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    done = subprocess.run(["systemctl", "--failed", "--plain", "--no-legend"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == ""


def test_we_are_a_service():
    assert "carry.service" in Path("/proc/self/cgroup").read_text()


def test_the_only_hierarchy_is_the_unified_one():
    assert os.listdir("/sys/fs/cgroup") != []
    found = layout.detect()
    assert found.version == 2
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= found.controllers
    assert features.probe()


def test_apparmor_is_on():
    assert Path("/sys/module/apparmor/parameters/enabled").read_text() == "Y\n"
    assert kernel.probe().apparmor


def test_project_quota_is_on():
    options = next(line.split()[3] for line in Path("/proc/mounts").read_text().splitlines()
                   if line.split()[1] == "/")  # fmt: skip
    assert "prjquota" in options.split(",")


def test_pressure_is_measured():
    assert Path("/proc/pressure/memory").read_text().startswith("some")
