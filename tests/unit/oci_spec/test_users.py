"""--user and --group-add against the container's files (row AA-07)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.oci_spec.users import User, resolve_user

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/bin/false
me:x:1000:100:Me,,,:/home/me:/bin/sh
nohome:x:1001:1001
12:x:5:6::/twelve:
"""
GROUP = """\
root:x:0:
users:x:100:me,daemon
wheel:x:10:me
docker:x:999: me ,other
34:x:7:
"""


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", User(0, 0, (0,), "/root", "root")),
        ("me", User(1000, 100, (100, 10, 999), "/home/me", "me")),
        ("1000", User(1000, 100, (100, 10, 999), "/home/me", "me")),
        ("me:wheel", User(1000, 10, (10,), "/home/me", "me")),
        ("me:0", User(1000, 0, (0,), "/home/me", "me")),
        ("4242", User(4242, 0, (0,), "/", "")),
        ("4242:4343", User(4242, 4343, (4343,), "/", "")),
        (":wheel", User(0, 10, (10,), "/root", "root")),
        ("nohome", User(1001, 1001, (1001,), "/", "nohome")),
        ("12", User(5, 6, (6,), "/twelve", "12")),  # a name made of digits is a name first
        ("me:34", User(1000, 7, (7,), "/home/me", "me")),
        ("4294967294", User(4294967294, 0, (0,), "/", "")),
    ],
)
def test_names_numbers_and_groups(user, expected):
    assert resolve_user(user, PASSWD, GROUP) == expected


def test_groups_to_add_come_by_name_or_number_once():
    user = resolve_user("me", PASSWD, GROUP, ["wheel", "77", "docker", "77"])
    assert user.additional_gids == (100, 10, 999, 77)


def test_no_files_at_all():
    assert resolve_user("7:8", None, None) == User(7, 8, (8,), "/", "")


ODD = ["nobody", "me:nogroup", "-1", "4294967295", "99999999999", "0x0", "1e3", "me:-1", "+5"]
ARABIC_THREE = "\u0663"


@pytest.mark.parametrize("user", [*ODD, ARABIC_THREE])
def test_what_is_neither_a_name_nor_a_number_in_range(user):
    with pytest.raises(InvalidParameter, match="unable to find"):
        resolve_user(user, PASSWD, GROUP)


@pytest.mark.parametrize(
    "uid", ["", "0x0", "text", "-0", " 0", "0 ", "+0", "00000000000", "\u0660"]
)
def test_an_odd_uid_in_passwd_never_becomes_root(uid):
    passwd = f"svc:x:{uid}:0::/:\n"
    with pytest.raises(InvalidParameter, match="unable to find user svc"):
        resolve_user("svc", passwd, "")


@pytest.mark.parametrize("gid", ["", "0x0", "-1", "4294967295", "x"])
def test_an_odd_gid_hides_the_line(gid):
    with pytest.raises(InvalidParameter):
        resolve_user("svc", f"svc:x:5:{gid}::/:\n", "")
    with pytest.raises(InvalidParameter):
        resolve_user("5:grp", "", f"grp:x:{gid}:\n")


def test_comments_short_and_windows_lines_are_harmless():
    passwd = "#me:x:0:0\n\nme\nme:x\n:x:0:0::/:\nme:x:9:9::/h:/bin/sh\r\n"
    assert resolve_user("me", passwd, "") == User(9, 9, (9,), "/h", "me")


def test_unit_separators_do_not_split_lines():
    """str.splitlines would: a GECOS field with a form feed must not make a new entry."""
    passwd = "a:x:5:5:x\x0croot:x:0:0:/h:/bin/sh\n"
    with pytest.raises(InvalidParameter):
        resolve_user("root", passwd, "")


@given(st.text(max_size=30), st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_the_parser_or_leaves_the_range(user, passwd, group):
    try:
        found = resolve_user(user, passwd, group)
    except InvalidParameter:
        return
    assert 0 <= found.uid < 2**32 - 1
    assert 0 <= found.gid < 2**32 - 1
    assert found.gid in found.additional_gids
