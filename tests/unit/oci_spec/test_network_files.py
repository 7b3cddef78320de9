"""/etc/hostname, hosts and resolv.conf: content, and that no line can be slipped in (E-05)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.oci_spec import network_files as files
from tests.support import specs

BAD_NAMES = [
    *("", "a b", "a\nb", "a\n", "-a", "a-", "a..b", ".a", "a.", "a/b", "a\0", "ä", "a" * 65),
    "x\n127.0.0.1 evil",
]


@pytest.mark.parametrize("name", ["a", "A1", "web-1.example.org", "under_score", "a" * 64, "12"])
def test_host_names(name):  # E-05
    assert files.hostname(name) == f"{name}\n"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_host_names(name):  # E-05
    with pytest.raises(InvalidParameter, match="--hostname"):
        files.hostname(name)
    with pytest.raises(InvalidParameter):
        files.hosts(name, addresses=["10.0.0.2"])
    if name:
        with pytest.raises(InvalidParameter, match="--domainname"):
            files.hosts("a", domain=name)


def test_hosts_has_the_fixed_lines_then_extra_then_own():
    text = files.hosts(
        "web",
        domain="example.org",
        addresses=["10.0.0.2", "fd00::2"],
        extra=["db:10.0.0.9", "six=[fd00::9]", "up:host-gateway"],
        links=[("10.0.0.7", "store db.host db")],
        host_gateways=["10.0.0.1", "fd00::1"],
    )
    lines = text.splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-7:] == [
        "10.0.0.9\tdb",
        "fd00::9\tsix",
        "10.0.0.1\tup",
        "fd00::1\tup",
        "10.0.0.7\tstore db.host db",
        "10.0.0.2\tweb.example.org web",
        "fd00::2\tweb.example.org web",
    ]


def test_host_gateway_needs_a_gateway():
    with pytest.raises(InvalidParameter, match="no address known for host-gateway"):
        files.hosts("web", extra=["up:host-gateway"])


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a:1.2.3.4", ("a", "1.2.3.4")),
        ("a=1.2.3.4", ("a", "1.2.3.4")),
        ("a:::1", ("a", "::1")),
        ("a:[::1]", ("a", "::1")),
        ("a=::1", ("a", "::1")),
    ],
)
def test_add_host_grammar(text, pair):
    assert files.parse_host(text) == pair


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", ":1.2.3.4", "a b:1.2.3.4", "a:1.2.3", "a:1.2.3.4\n5.6.7.8 b", "a\n:1.2.3.4",
     "a:[1.2.3.4", "a:1.2.3.4%x y", "a:host-gateway2"],
)  # fmt: skip
def test_bad_add_host(text):
    with pytest.raises(InvalidParameter, match="add-host"):
        files.parse_host(text)


HOST_TEXT = """\
# comment
nameserver 127.0.0.53
nameserver 10.0.0.1 ; trailing
nameserver fe80::1%eth0
nameserver ::1
nameserver not-an-address
domain old.example
search a.example b.example
options edns0 trust-ad
sortlist 1.2.3.4
"""


def test_the_hosts_servers_minus_its_own_loopback():
    assert files.resolv_conf(specs.host(), HOST_TEXT, private=True) == (
        "nameserver 10.0.0.1\nsearch a.example b.example\noptions edns0 trust-ad\n"
    )


def test_the_hosts_namespace_keeps_every_server():
    text = files.resolv_conf(specs.host(), HOST_TEXT, private=False)
    assert text.startswith(
        "nameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\n"
    )


@pytest.mark.parametrize(
    ("server", "local"),
    [
        ("127.3.2.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("128.0.0.1", False),
        ("7f00::1", False),  # 127 is a number of IPv4
        ("::2", False),
    ],
)
def test_which_servers_only_the_host_reaches(server, local):
    assert files.is_local(server) == local


def test_flags_replace_what_the_host_says():
    host = specs.host(
        Dns=["9.9.9.9", "127.0.0.1"], DnsSearch=["x.example"], DnsOptions=["ndots:2"]
    )
    assert files.resolv_conf(host, HOST_TEXT, private=True) == (
        "nameserver 9.9.9.9\nnameserver 127.0.0.1\nsearch x.example\noptions ndots:2\n"
    )


def test_a_dot_means_no_search_list():
    text = files.resolv_conf(specs.host(DnsSearch=["."]), HOST_TEXT, private=True)
    assert "search" not in text


def test_public_servers_where_none_remains():
    text = files.resolv_conf(specs.host(), "nameserver 127.0.0.1\n", private=True)
    assert text == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert files.resolv_conf(specs.host(), "", private=False) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"Dns": ["9.9.9.9\nnameserver 6.6.6.6"]},
        {"Dns": ["dns.example"]},
        {"Dns": [""]},
        {"DnsSearch": ["a.example\nnameserver 6.6.6.6"]},
        {"DnsSearch": ["a b"]},
        {"DnsOptions": ["ndots:1\nx"]},
        {"DnsOptions": ["a b"]},
        {"ExtraHosts": ["a:1.2.3.4\nb:5.6.7.8"]},
    ],
)
def test_bad_flags(changes):
    with pytest.raises(InvalidParameter):
        files.check(specs.host(**changes))


@given(st.text(max_size=300))
def test_the_hosts_file_cannot_break_ours(text):
    for line in files.resolv_conf(specs.host(), text, private=True).splitlines():
        assert line.split(" ")[0] in ("nameserver", "search", "options")


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_flag_adds_a_line(name, extra):
    try:
        text = files.hosts(name, addresses=["10.0.0.2"], extra=[extra])
    except InvalidParameter:
        return
    assert len(text.splitlines()) == len(files._FIXED_HOSTS) + 2


def test_the_engines_resolver_is_the_only_one_named():  # O-20
    host = specs.host(Dns=["9.9.9.9"], DnsSearch=["corp.example"])
    text = files.resolv_conf(host, HOST_TEXT, private=True, resolvers=["10.1.0.1", "10.2.0.1"])
    assert [line for line in text.splitlines() if line.startswith("nameserver")] == [
        "nameserver 10.1.0.1", "nameserver 10.2.0.1"
    ]
    assert "search corp.example" in text
    assert text.splitlines()[-1].endswith("ndots:0")


def test_ndots_of_the_user_is_kept_beside_the_engines_resolver():
    host = specs.host(DnsOptions=["ndots:2", "rotate"])
    text = files.resolv_conf(host, "", private=True, resolvers=["10.1.0.1"])
    assert text == "nameserver 10.1.0.1\noptions ndots:2 rotate\n"


def test_no_more_servers_than_a_resolver_library_asks():
    many = [f"10.{number}.0.1" for number in range(5)]
    text = files.resolv_conf(specs.host(), "", private=True, resolvers=many)
    assert text.count("nameserver") == files.MAX_SERVERS


def test_lines_of_hosts_change_and_the_rest_stays():
    text = "127.0.0.1\tlocalhost\n# mine\n10.0.0.2\tweb\n10.0.0.9   store  db\n"
    changed = files.changed_hosts(text, ["10.0.0.2\tweb"], ["10.1.0.2\tweb"])
    assert changed == "127.0.0.1\tlocalhost\n# mine\n10.0.0.9   store  db\n10.1.0.2\tweb\n"
    moved = files.changed_hosts(changed, ["*\tstore db"], ["10.0.0.8\tstore db"])
    assert moved == "127.0.0.1\tlocalhost\n# mine\n10.1.0.2\tweb\n10.0.0.8\tstore db\n"


def test_lines_about_a_network_are_replaced_whole():
    text = "127.0.0.1\tlocalhost\n10.0.0.2\tweb\t# network lan\n10.0.0.3\tdb\t# network plan\n"
    found = files.with_neighbours(text, "lan", ["10.0.0.9\tnew"])
    kept = "127.0.0.1\tlocalhost\n10.0.0.3\tdb\t# network plan\n"
    assert found == f"{kept}10.0.0.9\tnew\t# network lan\n"
    assert files.with_neighbours(found, "lan", []) == kept


@pytest.mark.parametrize(("address", "names"), [("10.0.0.1\n1.1.1.1", "a"), ("10.0.0.1", "a#b")])
def test_no_line_of_hosts_is_two(address: str, names: str):
    with pytest.raises(InvalidParameter):
        files.host_line(address, names)
