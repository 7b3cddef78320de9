"""Kernel facts and host devices, on fake trees."""

from __future__ import annotations

import os
import stat

import pytest

from runengine.linux import apparmor, devices, kernel, rlimits


def fake_root(tmp_path, **files):
    defaults = {
        "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
        "proc/self/status": "Name:\tx\nCapEff:\t0000000000200001\nCapBnd:\t0000000000200401\n"
        "Seccomp:\t0\n",
        "proc/self/oom_score_adj": "-17\n",
        "proc/self/ns/pid": "",
        "proc/self/ns/net": "",
        "proc/self/ns/net_for_children": "",
    }
    for name, text in {**defaults, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return kernel.read(str(tmp_path))


def test_facts(tmp_path):
    found = fake_root(tmp_path)
    assert found.version == (6, 1)
    assert found.cgroup_version == 1
    assert found.seccomp
    assert not found.apparmor
    assert found.bounding == ("CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN")
    assert found.effective == ("CAP_CHOWN", "CAP_SYS_ADMIN")
    assert found.namespaces == {"pid", "network"}
    assert found.oom_score_adj == -17
    assert found.recursive_readonly
    assert found.thermal_paths == ()


def test_other_facts(tmp_path):
    found = fake_root(
        tmp_path,
        **{
            "proc/sys/kernel/osrelease": "5.11.22\n",
            "proc/self/status": "Name:\tx\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu",
            "sys/module/apparmor/parameters/enabled": "Y\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/count": "0",
            "sys/devices/system/cpu/cpu10/x": "",
            "sys/devices/system/cpu/cpu2/x": "",
            "sys/devices/system/cpu/cpufreq/x": "",
        },
    )
    assert found.cgroup_version == 2
    assert found.apparmor
    assert not found.seccomp
    assert found.bounding == ()
    assert not found.recursive_readonly
    assert found.thermal_paths == tuple(
        f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in (0, 2, 10)
    )


def test_an_empty_tree_is_an_old_kernel(tmp_path):
    found = kernel.read(str(tmp_path))
    assert (found.seccomp, found.apparmor, found.namespaces) == (False, False, frozenset())
    assert found.version == kernel.parse_version(os.uname().release)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("5.10", (5, 10)), ("6.18-rc1", (6, 18)), ("x", (0, 0)),
     ("6", (0, 0)), ("", (0, 0)), ("4.19+", (4, 19))],
)  # fmt: skip
def test_versions(release, version):
    assert kernel.parse_version(release) == version


def test_capability_names_follow_the_kernels_numbers():
    assert kernel.capability_names(1 << 0 | 1 << 21 | 1 << 40 | 1 << 63) == (
        "CAP_CHOWN",
        "CAP_SYS_ADMIN",
        "CAP_CHECKPOINT_RESTORE",
    )
    assert len(kernel.CAPABILITIES) == 41


def test_this_kernel_is_read_once():
    assert kernel.probe() is kernel.probe()
    assert kernel.probe().version >= (4, 0)


def test_a_device_is_described():
    found = devices.entry("/dev/null", "/dev/x", "r")
    assert found[:4] == ("/dev/x", "c", 1, 3)
    assert (found.mode, found.access) == (stat.S_IMODE(os.stat("/dev/null").st_mode), "r")


def test_links_are_followed(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/dev/zero")
    (found,) = devices.entries(str(link), "/dev/y")
    assert found[:4] == ("/dev/y", "c", 1, 5)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_device(tmp_path, kind):  # E-17
    path = tmp_path / "x"
    path.touch() if kind == "file" else path.mkdir()
    with pytest.raises(devices.NotADevice, match=f"{path} is not a device node"):
        devices.entries(str(path), "/dev/x")
    with pytest.raises(FileNotFoundError):
        devices.entries(str(tmp_path / "nothing"), "/dev/x")


def test_a_folder_gives_every_device_below_it():  # E-17
    found = devices.entries("/dev", "/mine/", "r")
    assert {entry.path for entry in found} >= {"/mine/null", "/mine/full"}
    assert {entry.access for entry in found} == {"r"}
    # Links are names of others, and what the runtime makes for each container is its own.
    assert not [entry for entry in found if entry.path in ("/mine/stdin", "/mine/fd")]
    assert not [e for e in devices.entries("/dev", "/dev") if e.path.startswith("/dev/pts/")]


def test_a_character_device_is_no_block_device():
    with pytest.raises(devices.NotADevice, match="/dev/null is not a block device"):
        devices.block_number("/dev/null")


def test_host_devices_are_those_of_dev_without_terminals_of_others():
    found = {entry.path: entry for entry in devices.host_devices()}
    assert found["/dev/null"].minor == 3
    assert not any(path.startswith(("/dev/pts", "/dev/shm")) for path in found)
    assert "/dev/console" not in found


def test_hard_limits_have_the_flags_names():
    found = rlimits.hard_limits()
    assert {"nofile", "core", "memlock", "nproc"} <= set(found)
    assert all(value >= -1 for value in found.values())


def test_loaded_apparmor_profiles(tmp_path):
    listing = tmp_path / "profiles"
    listing.write_text("runengine-default (enforce)\nmine (x) (complain)\n")
    assert apparmor.is_loaded("runengine-default", str(listing))
    assert apparmor.is_loaded("mine (x)", str(listing))
    assert not apparmor.is_loaded("runengine", str(listing))
    assert not apparmor.is_loaded("runengine-default", str(tmp_path / "none"))


def test_a_profile_is_missed_only_where_the_kernel_lists_them(tmp_path):
    listing = tmp_path / "profiles"
    assert not apparmor.is_known_to_lack("mine", str(listing))
    listing.write_text("mine (enforce)\nmine//child (complain)\n")
    assert not apparmor.is_known_to_lack("mine", str(listing))
    assert not apparmor.is_known_to_lack("mine//child", str(listing))
    assert not apparmor.is_known_to_lack(":other:mine", str(listing))
    assert apparmor.is_known_to_lack("min", str(listing))


def test_apparmor_tunables(tmp_path):
    assert not apparmor.has_tunables(str(tmp_path))
    (tmp_path / "tunables").mkdir()
    (tmp_path / "tunables" / "global").touch()
    assert apparmor.has_tunables(str(tmp_path))
