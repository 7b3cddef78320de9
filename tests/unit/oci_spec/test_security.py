"""Capabilities and --security-opt (rows A-03 to A-08, AA-02 to AA-09)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runengine.errors import InvalidParameter
from runengine.linux.kernel import CAPABILITIES
from runengine.oci_spec import apparmor, capabilities, runtime, security_opt
from runengine.oci_spec.security_opt import SecurityOptions, parse
from tests.support import specs

SOME = ("CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_ADMIN")


def resolve(add=(), drop=(), *, privileged=False, bounding=CAPABILITIES):
    return capabilities.resolve(add, drop, privileged=privileged, bounding=bounding)


def test_the_default_is_dockers_fourteen():  # AA-06
    assert set(resolve()) == set(capabilities.DEFAULT)
    assert len(resolve()) == 14


def test_names_come_in_any_case_with_or_without_prefix():  # AA-06
    assert "CAP_NET_ADMIN" in resolve(["net_admin"])
    assert "CAP_NET_ADMIN" in resolve(["Cap_Net_Admin"])
    assert resolve(drop=["cap_all"]) == ()


@pytest.mark.parametrize("name", ["BOGUS", "", "CAP_", "NET RAW", "SYS_ADMIN,NET_RAW"])
def test_unknown_names(name):  # AA-06
    with pytest.raises(InvalidParameter, match="unknown capability"):
        resolve([name])
    with pytest.raises(InvalidParameter, match="unknown capability"):
        resolve(drop=[name])


def test_all_and_privileged_mean_what_the_host_can_give():  # AA-08
    assert resolve(["ALL"], bounding=SOME) == SOME
    assert resolve(privileged=True, bounding=SOME) == SOME
    assert resolve(bounding=SOME) == ("CAP_CHOWN", "CAP_NET_RAW")


def test_a_capability_the_host_lacks_is_an_error_only_by_name():
    with pytest.raises(InvalidParameter, match="CAP_SYS_TIME"):
        resolve(["SYS_TIME"], bounding=SOME)
    assert resolve(drop=["SYS_TIME"], bounding=SOME) == ("CAP_CHOWN", "CAP_NET_RAW")


def test_drop_counts_for_privileged_too():
    assert resolve(drop=["NET_RAW"], privileged=True, bounding=SOME) == (
        "CAP_CHOWN",
        "CAP_SYS_ADMIN",
    )
    assert resolve(["CHOWN"], ["ALL"], privileged=True, bounding=SOME) == ("CAP_CHOWN",)


def test_inheritable_and_ambient_stay_empty():
    section = specs.build()["process"]["capabilities"]
    assert set(section) == {"bounding", "effective", "permitted"}


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("no-new-privileges", "no_new_privileges", True),
        ("no-new-privileges:true", "no_new_privileges", True),
        ("no-new-privileges=true", "no_new_privileges", True),
        ("no-new-privileges=false", "no_new_privileges", False),
        ("writable-cgroups", "writable_cgroups", True),
        ("writable-cgroups=false", "writable_cgroups", False),
        ("seccomp=unconfined", "seccomp", "unconfined"),
        ("seccomp:unconfined", "seccomp", "unconfined"),
        ("seccomp=builtin", "seccomp", security_opt.DEFAULT),
        ("seccomp=runtime/default", "seccomp", security_opt.DEFAULT),
        ("seccomp=docker/default", "seccomp", security_opt.DEFAULT),
        ("seccomp=pouch/default", "seccomp", security_opt.DEFAULT),
        ("seccomp=localhost/p.json", "seccomp", "p.json"),
        ('seccomp={"a":"b=c"}', "seccomp", '{"a":"b=c"}'),
        ("seccomp-arch=x86,x32", "seccomp_arch", ("x86", "x32")),
        ("apparmor=mine", "apparmor", "mine"),
        ("apparmor=runtime/default", "apparmor", security_opt.DEFAULT),
        ("label=disable", "labels", ("disable",)),
        ("label:type:svirt_t", "labels", ("type:svirt_t",)),
        ("systempaths=unconfined", "systempaths_unconfined", True),
        ("mask=/a:/b", "mask", ("/a", "/b")),
        ("unmask=all", "unmask", ("ALL",)),
        ("unmask=/proc/acpi", "unmask", ("/proc/acpi",)),
    ],
)
def test_options(option, field, value):  # AA-05, A-03 to A-08
    assert parse([option]) == SecurityOptions()._replace(**{field: value})


def test_the_last_wins_and_lists_add_up():
    found = parse(["seccomp=unconfined", "mask=/a", "mask=/b", "seccomp=default"])
    assert (found.seccomp, found.mask) == (security_opt.DEFAULT, ("/a", "/b"))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("bogus", "must be in format of key=value"),
        ("seccomp", "must be in format of key=value"),
        ("colour=red", "unknown key"),
        ("no-new-privileges=perhaps", "not true or false"),
        ("systempaths=confined", "systempaths=unconfined"),
        ("mask=proc", "not an absolute path"),
        ("mask=", "empty value"),
        ("seccomp-arch=vax", "seccomp-arch=vax"),
    ],
)
def test_bad_options(option, words):  # AA-05
    with pytest.raises(InvalidParameter, match=words):
        parse([option])


def test_lists_of_the_request_replace_the_default_paths():  # AA-09
    linux = specs.build(host_changes={"MaskedPaths": ["/x"], "ReadonlyPaths": []})["linux"]
    assert linux["maskedPaths"] == ["/x"]
    assert "readonlyPaths" not in linux


def test_thermal_paths_are_masked_where_the_cpus_have_them():  # AA-09
    path = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    kernel = specs.KERNEL._replace(thermal_paths=(path,))
    assert path in specs.build(kernel=kernel)["linux"]["maskedPaths"]


def test_unmask_all():
    changes = {"SecurityOpt": ["seccomp=unconfined", "unmask=ALL", "mask=/proc/x"]}
    linux = specs.build(host_changes=changes)["linux"]
    assert linux["maskedPaths"] == ["/proc/x"]
    assert "readonlyPaths" not in linux


def test_apparmor_only_where_the_kernel_has_it():  # AA-04
    options = {"SecurityOpt": ["seccomp=unconfined", "apparmor=mine"]}
    assert "apparmorProfile" not in specs.build(host_changes=options)["process"]
    on = specs.KERNEL._replace(apparmor=True)
    assert "apparmorProfile" not in specs.build(kernel=on)["process"]
    privileged = {"Privileged": True, **options}
    assert specs.build(host_changes=privileged, kernel=on)["process"]["apparmorProfile"] == "mine"


def test_the_apparmor_text_names_itself_and_balances():  # AA-04
    text = apparmor.profile("a-b.c")
    assert "profile a-b.c flags=" in text
    assert text.count("peer=a-b.c") == 2
    assert text.count("{") == text.count("}")
    assert all(
        line.endswith((",", "{", "}")) or line.startswith("include")
        for line in map(str.strip, text.splitlines())
        if line and not line.startswith("#")
    )
    assert "@{PROC}=/proc/" in apparmor.profile(tunables=False)


@pytest.mark.parametrize("name", ["", "a b", "a{b", "x\ny", '"'])
def test_apparmor_names_that_would_need_quoting(name):
    with pytest.raises(InvalidParameter, match="AppArmor"):
        apparmor.profile(name)


def test_a_given_filter_is_used_as_it_is():
    given = {"defaultAction": "SCMP_ACT_ALLOW"}
    linux = specs.build(host_changes={"SecurityOpt": []}, seccomp=given)["linux"]
    assert linux["seccomp"] is given


def test_privileged_has_no_filter_but_one_asked_for():  # AA-02
    changes: dict[str, Any] = {"Privileged": True, "SecurityOpt": []}
    assert "seccomp" not in specs.build(host_changes=changes)["linux"]
    text = json.dumps({"defaultAction": "SCMP_ACT_LOG"})
    changes = {"Privileged": True, "SecurityOpt": [f"seccomp={text}"]}
    linux = specs.build(host_changes=changes)["linux"]
    assert runtime.Seccomp.model_validate(linux["seccomp"]).default_action == "SCMP_ACT_LOG"


@pytest.mark.parametrize("name", sorted(security_opt.DEFAULT_NAMES))
def test_privileged_has_the_default_profiles_if_they_are_asked_for(name):  # AA-02, AA-04
    kernel = specs.KERNEL._replace(apparmor=True)
    changes: dict[str, Any] = {
        "Privileged": True,
        "SecurityOpt": [f"seccomp={name}", f"apparmor={name}"],
    }
    spec = specs.build(host_changes=changes, kernel=kernel, apparmor_profile="ours")
    assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert spec["process"]["apparmorProfile"] == "ours"


def test_unconfined_leaves_no_empty_filter():  # AA-02
    assert "seccomp" not in specs.build()["linux"]


def test_no_filter_without_the_kernels_support():  # AA-03
    kernel = specs.KERNEL._replace(seccomp=False)
    changes: dict[str, Any] = {"SecurityOpt": []}
    assert "seccomp" not in specs.build(host_changes=changes, kernel=kernel)["linux"]


def test_every_default_name_is_a_default_name():
    for name in security_opt.DEFAULT_NAMES:
        assert parse([f"seccomp={name}"]).seccomp == security_opt.DEFAULT
    assert parse(["seccomp="]).seccomp == ""
