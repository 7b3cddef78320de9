"""--device, --device-cgroup-rule, --ulimit, --init (rows E-15, E-17, AA-10, AA-15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter, Unavailable
from runengine.oci_spec import devices, init, ulimits
from tests.support import specs


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:r", ("/dev/a", "/dev/a", "r")),
        ("/dev/a:/dev/b:mr", ("/dev/a", "/dev/b", "mr")),
        ("/dev/a::w", ("/dev/a", "/dev/a", "w")),
        ("/dev/a:/dev/../dev//b/", ("/dev/a", "/dev/b", "rwm")),
    ],
)
def test_device_grammar(text, mapping):  # E-17
    assert tuple(devices.parse_device(text).values()) == mapping


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid device specification"),
        ("/a:/b:r:w", "invalid device specification"),
        ("/a:/b:", "invalid device mode"),
        ("/a:/b:rr", "invalid device mode"),
        ("/a:/b:x", "invalid device mode"),
        ("/a:b", "invalid device mode"),
        ("/a:", "invalid device mode"),
        ("a:/b", "not an absolute path"),
        ("/dev/a:/", "is the root"),
        ("/dev/a:/dev/..", "is the root"),
    ],
)
def test_bad_devices(text, words):  # E-17
    with pytest.raises(InvalidParameter, match=words):
        devices.parse_device(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c",
        "d 1:2 r",
        "c 1 r",
        "c 1:2",
        "c 1:2 x",
        "c 1:2 rr",
        "c -1:2 r",
        "c 1:2  r",
        "c 4294967296:1 r",
        f"b 1:{'9' * 5000} r",
    ],
)
def test_bad_device_rules(text):
    with pytest.raises(InvalidParameter, match="invalid device cgroup rule"):
        devices.parse_rule(text)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("c 1:* rmw", [devices.rule("c", 1, None, "rmw")]),
        ("b *:4294967295 r", [devices.rule("b", None, 4294967295, "r")]),
        ("a *:* wmr", [devices.rule("a", None, None, "wmr")]),
        # The kernel takes the letter a for everything, whatever follows it.
        ("a *:* r", [devices.rule("c", None, None, "r"), devices.rule("b", None, None, "r")]),
        ("a 7:1 rwm", [devices.rule("c", 7, 1), devices.rule("b", 7, 1)]),
    ],
)
def test_device_rules(text, rules):
    assert devices.parse_rule(text) == rules


def test_a_program_may_leave_out_what_has_a_default():
    devices.check({"PathOnHost": "/dev/a", "PathInContainer": "", "CgroupPermissions": ""})
    with pytest.raises(InvalidParameter, match="not an absolute path"):
        devices.check({"PathOnHost": "", "PathInContainer": "", "CgroupPermissions": ""})


def test_everything_is_denied_first():  # AA-10
    rules = specs.build()["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    opened = {(r["major"], r.get("minor")) for r in rules[1:] if "major" in r}
    assert opened == {
        *((1, minor) for minor in (3, 5, 7, 8, 9)),
        *((5, minor) for minor in (0, 1, 2)),
        (136, None),
    }
    assert all(r["access"] == "m" for r in rules[1:] if "major" not in r)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=10", ("nofile", 10, 10)),
        ("nofile=10:20", ("nofile", 10, 20)),
        ("core=0:-1", ("core", 0, -1)),
        ("stack=unlimited", ("stack", -1, -1)),
        ("as=18446744073709551615", ("as", -1, -1)),
    ],
)
def test_ulimit_grammar(text, limit):  # E-15
    assert tuple(ulimits.parse(text).values()) == limit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nofile", "invalid ulimit argument"),
        ("nofile=", "invalid ulimit value"),
        ("nofile=a", "invalid ulimit value"),
        ("nofile=1:", "invalid ulimit value"),
        ("nofile=1:2:3", "invalid ulimit value"),
        ("nofile=-2", "invalid ulimit value"),
        ("nofile=18446744073709551616", "invalid ulimit value"),
        ("bogus=1", "invalid ulimit type"),
        ("nofile=20:10", "soft limit must be less than or equal to hard limit"),
        ("nofile=-1:10", "unlimited > 10"),
    ],
)
def test_bad_ulimits(text, words):  # E-15
    with pytest.raises(InvalidParameter, match=words):
        ulimits.parse(text)


_VALUE = st.sampled_from(
    ["-1", "unlimited", "0", "7", f"{(1 << 64) - 1}", f"{1 << 64}", "-2", "²", "", "1:"]
)


@given(st.text(max_size=20) | st.builds("nofile={}:{}".format, _VALUE, _VALUE))
def test_any_ulimit_text_is_a_limit_or_refused(text):
    try:
        limit = ulimits.parse(text)
    except InvalidParameter:
        return
    soft, hard = limit["Soft"], limit["Hard"]
    assert limit["Name"] in ulimits.NAMES
    assert -1 <= soft < (1 << 64) - 1
    assert hard == -1 or 0 <= soft <= hard < (1 << 64) - 1


def test_the_last_one_of_a_name_wins():  # E-15
    limits = [ulimits.parse("nofile=1"), ulimits.parse("nofile=2")]
    rlimits = specs.build(host_changes={"Ulimits": limits})["process"]["rlimits"]
    assert rlimits == [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 2}]


@pytest.mark.parametrize("text", ["nofile=2000", "nofile=-1", "nofile=1:1001"])
def test_a_limit_above_the_engines_own(text):
    limits = [ulimits.parse(text)]
    with pytest.raises(InvalidParameter, match="use at most 1000"):
        ulimits.check_raise(limits, {"nofile": 1000}, may_raise=False)
    ulimits.check_raise(limits, {"nofile": 1000}, may_raise=True)
    ulimits.check_raise(limits, {"nofile": -1}, may_raise=False)
    ulimits.check_raise(limits, {}, may_raise=False)


def test_a_limit_at_the_engines_own_is_fine():
    ulimits.check_raise([ulimits.parse("nofile=1000")], {"nofile": 1000}, may_raise=False)


def test_an_init_is_found_in_order_of_preference(tmp_path):
    for name in ("catatonit", "tini-static"):
        program = tmp_path / name
        program.touch(mode=0o755)
        assert init.find_init(str(tmp_path)) == str(program)


def test_no_init_says_what_to_install(tmp_path):
    (tmp_path / "tini").touch(mode=0o755)  # dynamic: useless in an image with another libc
    with pytest.raises(Unavailable, match="apt-get install"):
        init.find_init(str(tmp_path))


@pytest.mark.parametrize(
    ("own", "effective", "asked", "written"),
    [
        (0, (), 0, 0),
        (-500, (), 0, 0),
        (300, (), 0, None),  # cannot go below what it was given
        (300, ("CAP_SYS_RESOURCE",), 0, 0),
        (300, (), 400, 400),
        (0, (), -17, -17),
    ],
)
def test_the_containers_oom_score_is_its_own(own, effective, asked, written):
    kernel = specs.KERNEL._replace(oom_score_adj=own, effective=effective)
    process = specs.build(host_changes={"OomScoreAdj": asked}, kernel=kernel)["process"]
    assert process.get("oomScoreAdj") == written
