"""The default seccomp profile and users' profiles (rows AA-02, AA-03)."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from runengine.errors import InvalidParameter
from runengine.linux.kernel import CAPABILITIES
from runengine.oci_spec import capabilities, runtime, seccomp, seccomp_profile
from runengine.oci_spec.seccomp import Target
from tests.support import specs

GOLDEN = Path(__file__).parent / "golden" / "seccomp-default.json"
DEFAULT = Target("x86_64", (6, 1), frozenset(capabilities.DEFAULT))
MACHINES = ["x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64"]


def rules(target):
    """System call to the rules for it."""
    found: dict[str, list[dict]] = {}
    for entry in seccomp.default_profile(target)["syscalls"]:
        for name in entry["names"]:
            found.setdefault(name, []).append(entry)
    return found


def allowed(target):
    """System calls that are allowed whatever their arguments."""
    return {
        name
        for name, entries in rules(target).items()
        if any(e["action"] == seccomp.ALLOW and "args" not in e for e in entries)
    }


def test_golden():
    profile = seccomp.default_profile(DEFAULT)
    if "RUNENGINE_UPDATE_GOLDEN" in os.environ:
        GOLDEN.write_text(json.dumps(profile, indent=1) + "\n")
    assert profile == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("capability_set", [frozenset(), frozenset(CAPABILITIES)])
def test_it_is_a_valid_filter_everywhere(machine, capability_set):
    target = Target(machine, (6, 1), capability_set, ("all",))
    runtime.Seccomp.model_validate(seccomp.default_profile(target))
    assert {"read", "openat", "execve", "exit_group", "futex", "rseq"} <= allowed(target)


def test_what_is_not_listed_fails_with_eperm():
    profile = seccomp.default_profile(DEFAULT)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["defaultErrnoRet"] == errno.EPERM


DENIED = {
    *("add_key", "keyctl", "request_key", "io_uring_setup", "userfaultfd", "kexec_load"),
    *("swapon", "pivot_root", "bpf", "perf_event_open", "mount", "umount2", "unshare", "setns"),
    *("reboot", "init_module", "acct", "iopl", "settimeofday", "clock_settime", "mbind"),
    *("open_by_handle_at", "quotactl", "syslog", "fsopen", "move_mount", "kcmp", "uselib"),
    *("open_tree", "open_tree_attr", "mount_setattr", "sethostname", "vhangup", "lookup_dcookie"),
}


def test_dangerous_calls_are_not_there_by_default():
    assert not DENIED & set(rules(DEFAULT))


@pytest.mark.parametrize(
    ("capability", "calls"),
    [
        ("CAP_SYS_ADMIN", {"mount", "umount2", "unshare", "setns", "bpf", "clone", "clone3"}),
        ("CAP_SYS_BOOT", {"reboot"}),
        ("CAP_SYS_MODULE", {"init_module", "finit_module", "delete_module"}),
        ("CAP_SYS_PACCT", {"acct"}),
        ("CAP_SYS_PTRACE", {"kcmp", "pidfd_getfd", "process_madvise"}),
        ("CAP_SYS_RAWIO", {"iopl", "ioperm"}),
        ("CAP_SYS_TIME", {"settimeofday", "clock_settime"}),
        ("CAP_SYS_NICE", {"mbind", "set_mempolicy", "get_mempolicy"}),
        ("CAP_SYS_TTY_CONFIG", {"vhangup"}),
        ("CAP_DAC_READ_SEARCH", {"open_by_handle_at"}),
        ("CAP_SYSLOG", {"syslog"}),
        ("CAP_BPF", {"bpf"}),
        ("CAP_PERFMON", {"perf_event_open"}),
    ],
)
def test_a_capability_brings_its_calls(capability, calls):
    more = DEFAULT._replace(capabilities=DEFAULT.capabilities | {capability})
    assert calls <= allowed(more)
    assert not calls & allowed(DEFAULT)


def test_chroot_goes_with_its_capability():
    assert "chroot" in allowed(DEFAULT)
    assert "chroot" not in allowed(DEFAULT._replace(capabilities=frozenset()))


def test_clone_makes_no_namespaces_and_clone3_is_not_there():
    found = rules(DEFAULT)
    (clone,) = found["clone"]
    namespaces = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x70000000
    assert clone["args"] == [
        {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": namespaces, "valueTwo": 0}
    ]
    (clone3,) = found["clone3"]
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)
    (s390,) = rules(DEFAULT._replace(machine="s390x"))["clone"]
    assert s390["args"][0]["index"] == 1


def test_sockets_but_vsock_and_five_personalities():
    found = rules(DEFAULT)
    (socket,) = found["socket"]
    assert socket["args"] == [{"index": 0, "op": "SCMP_CMP_NE", "value": 40}]
    assert sorted(entry["args"][0]["value"] for entry in found["personality"]) == [
        0,
        8,
        0x20000,
        0x20008,
        0xFFFFFFFF,
    ]


def test_ptrace_needs_a_kernel_where_the_filter_sees_a_tracers_changes():
    assert "ptrace" in allowed(DEFAULT._replace(kernel=(4, 8)))
    assert "ptrace" not in allowed(DEFAULT._replace(kernel=(4, 7)))


@pytest.mark.parametrize(
    ("machine", "extra", "expected"),
    [
        ("x86_64", (), ["SCMP_ARCH_X86_64"]),
        ("x86_64", ("native",), ["SCMP_ARCH_X86_64"]),
        ("x86_64", ("x86",), ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        ("x86_64", ("all",), ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        ("x86_64", ("arm",), ["SCMP_ARCH_X86_64"]),
        ("aarch64", ("arm",), ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        ("i686", ("all",), ["SCMP_ARCH_X86"]),
    ],
)
def test_only_the_native_architecture_unless_asked(machine, extra, expected):
    target = DEFAULT._replace(machine=machine, extra=extra)
    assert seccomp.default_profile(target)["architectures"] == expected


def test_32_bit_forms_come_with_a_32_bit_architecture_only():
    assert "mmap2" not in rules(DEFAULT)
    assert {"mmap2", "socketcall"} <= allowed(DEFAULT._replace(extra=("x86",)))
    assert "mmap2" in allowed(DEFAULT._replace(machine="armv7l"))


def test_a_32_bit_image_gets_its_table():
    linux = specs.build(host_changes={"SecurityOpt": []}, image_architecture="386")["linux"]
    assert linux["seccomp"]["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    linux = specs.build(host_changes={"SecurityOpt": []}, image_architecture="amd64")["linux"]
    assert linux["seccomp"]["architectures"] == ["SCMP_ARCH_X86_64"]


def test_an_unknown_machine_needs_a_profile_of_the_users():
    with pytest.raises(InvalidParameter, match="seccomp=FILE"):
        seccomp.default_profile(DEFAULT._replace(machine="vax"))


def test_each_group_says_what_it_is_for_and_no_call_is_both_allowed_and_denied():
    plain: set[str] = set()
    denied: set[str] = set()
    for group in seccomp.groups():
        assert group["purpose"]
        assert set(group) <= {
            *("purpose", "calls", "cap", "without", "since", "machines", "not_machines"),
            *("bits", "args", "errno", "denied"),
        }
        (denied if "denied" in group else plain).update(group["calls"])
    assert not plain & denied


def test_every_call_of_the_kernels_table_is_decided_on():
    """A new kernel header with calls that no group names must be looked at by a person."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers (linux-libc-dev)")
    words = [line.split() for line in header.read_text().splitlines()]
    table = {w[1].removeprefix("__NR_") for w in words if len(w) == 3 and "__NR_" in w[1]}
    known = {name for group in seccomp.groups() for name in group["calls"]}
    assert len(table) > 300
    assert table - known == set()


DOCKER = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
    ],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {},
         "excludes": {}},
        {"name": "write", "action": "SCMP_ACT_ALLOW"},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
        {"names": ["chown"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN"]}},
        {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["amd"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["old"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.8"}},
        {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["newer"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.10"}},
        {"names": ["nochown"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
        {"names": ["noamd"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]},
    ],
}  # fmt: skip


def test_dockers_form():  # AA-02
    section = seccomp.load_profile(json.dumps(DOCKER), DEFAULT)
    assert section["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    names = [name for entry in section["syscalls"] for name in entry["names"]]
    assert names == ["read", "write", "chown", "amd", "new", "clone3", "personality"]
    assert section["syscalls"][-2]["errnoRet"] == 38
    assert section["syscalls"][-1]["args"] == [
        {"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    ]


def test_the_architecture_map_follows_the_machine():
    arm = DEFAULT._replace(machine="aarch64")
    section = seccomp.load_profile(json.dumps(DOCKER), arm)
    assert section["architectures"] == ["SCMP_ARCH_AARCH64"]
    other = DEFAULT._replace(machine="riscv64")
    assert "architectures" not in seccomp.load_profile(json.dumps(DOCKER), other)


def test_the_oci_form_passes_through():
    profile = seccomp.default_profile(DEFAULT)
    assert seccomp.load_profile(json.dumps(profile), DEFAULT) == profile


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "defaultAction"),
        ('{"defaultAction": "ALLOW"}', "defaultAction"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "colour": 1}', "colour"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["VAX"]}', "architectures"),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],'
            ' "archMap": [{"architecture": "SCMP_ARCH_X86"}]}',
            "archMap",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG"}]}',
            "exactly one of",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG",'
            ' "name": "a", "names": ["b"]}]}',
            "exactly one of",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW",'
            ' "name": "a", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}',
            "index",
        ),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99999}', "defaultErrnoRet"),
    ],
)
def test_bad_profiles_are_one_line(profile, words):  # AA-02
    with pytest.raises(InvalidParameter, match=words) as caught:
        seccomp.load_profile(profile, DEFAULT)
    assert "\n" not in str(caught.value)
    assert "invalid seccomp profile" in str(caught.value)


ALLOW_FLAG = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"


def test_mitigations_are_not_forced_where_the_runtime_can_say_so():
    def section(**facts):
        return specs.build(host_changes={"SecurityOpt": []}, **facts)["linux"]["seccomp"]

    assert section(seccomp_flags=(ALLOW_FLAG, "X"))["flags"] == [ALLOW_FLAG]
    # runc 1.1 fails for any flag.
    assert "flags" not in section()


@pytest.mark.parametrize("runtime", [(), (ALLOW_FLAG,)])
@pytest.mark.parametrize("given", [[], [ALLOW_FLAG], ["SECCOMP_FILTER_FLAG_LOG", ALLOW_FLAG]])
def test_only_what_speeds_up_is_dropped_where_the_runtime_cannot(runtime, given):
    """An empty list is no flags; without one, runc from 1.2 sets the flag itself."""
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "flags": given})
    changes = {"SecurityOpt": [f"seccomp={text}"]}
    section = specs.build(host_changes=changes, seccomp_flags=runtime)["linux"]["seccomp"]
    assert section["flags"] == [flag for flag in given if runtime or flag != ALLOW_FLAG]


def test_names_of_errors_as_podman_writes_them():
    text = json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "defaultErrno": "ENOSYS",
            "syscalls": [
                {"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2, "errno": "EPERM"},
                {"names": ["b"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2, "errno": ""},
            ],
        }
    )
    section = seccomp.load_profile(text, DEFAULT)
    assert section["defaultErrnoRet"] == 38
    assert [rule["errnoRet"] for rule in section["syscalls"]] == [1, 2]
    with pytest.raises(InvalidParameter, match="defaultErrno: Value error, no such error"):
        seccomp.load_profile(text.replace("ENOSYS", "ENOTHING"), DEFAULT)


@pytest.mark.parametrize(("least", "counts"), [("4.8.0", True), ("99.1.2-rc", False), ("", True)])
def test_kernel_versions_with_more_than_two_parts(least, counts):
    rule = {"names": ["a"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": least}}
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    assert ("syscalls" in seccomp.load_profile(text, DEFAULT)) is counts


def test_a_profiles_own_flags_stay():
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]})
    changes = {"SecurityOpt": [f"seccomp={text}"]}
    linux = specs.build(host_changes=changes, seccomp_flags=(ALLOW_FLAG,))["linux"]
    assert linux["seccomp"]["flags"] == ["SECCOMP_FILTER_FLAG_LOG"]
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})
    changes = {"SecurityOpt": [f"seccomp={text}"]}
    linux = specs.build(host_changes=changes, seccomp_flags=(ALLOW_FLAG,))["linux"]
    assert linux["seccomp"]["flags"] == [ALLOW_FLAG]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"syscalls": [{"names": ["a"], "action": "X"}]}, r"syscalls\[0\]\.action: "),
        (
            {"syscalls": [
                {"names": ["a"], "action": "SCMP_ACT_LOG"},
                {"names": ["a"], "action": "SCMP_ACT_LOG",
                 "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]},
            ]},
            r"syscalls\[1\]\.args\[0\]\.value: ",
        ),
        ({"archMap": [{"architecture": "VAX"}]}, r"archMap\[0\]\.architecture: "),
        ({"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG",
                        "includes": {"minKernel": "four"}}]},
         r"syscalls\[0\]\.includes\.minKernel: "),
        ({"flags": ["FAST"]}, r"flags\[0\]: "),
    ],
)  # fmt: skip
def test_the_place_of_what_is_wrong_is_named(changes, place):
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **changes})
    with pytest.raises(InvalidParameter, match=place):
        seccomp.load_profile(text, DEFAULT)


def test_so_is_its_file():
    with pytest.raises(InvalidParameter, match=r"profile \(/etc/x.json\)"):
        seccomp_profile.check('{"defaultAction": "X"}', "(/etc/x.json)")
