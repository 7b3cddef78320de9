"""Choosing subnets and addresses, without a database or a host."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.netns import ipam
from runengine.netns.ipam import AddressPool


class Leases(set):
    """Numbers in use, counted as the database does."""

    def used(self, first, last):
        return sum(first <= number <= last for number in self)


# Subnets and ranges


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.168.7.0/24", "192.168.7.0/24"),
        ("10.1.2.3/32", "10.1.2.3/32"),
        ("fd00:0:0::/48", "fd00::/48"),
        ("2001:DB8::/64", "2001:db8::/64"),
    ],
)
def test_a_subnet_is_read(given, expected):
    assert str(ipam.parse_subnet(given)) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "no prefix length"),
        ("10.0.0.0", "no prefix length"),
        ("10.0.0.0/", "not in 0 to 32"),
        ("10.0.0.0/33", "not in 0 to 32"),
        ("10.0.0.0/-1", "not in 0 to 32"),
        ("10.0.0.0/255.0.0.0", "not in 0 to 32"),
        ("10.0.0.0/24/24", "not in 0 to 32"),
        ("10.0.0.0/" + "9" * 5000, "not in 0 to 32"),
        ("fd00::/129", "not in 0 to 128"),
        ("10.0.0/8", "invalid IP address '10.0.0'"),
        ("010.0.0.0/8", "invalid IP address"),
        ("10.0.0.0.0/8", "invalid IP address"),
        ("nonsense/8", "invalid IP address"),
        ("fe80::1%eth0/64", "invalid IP address"),
        ("10.0.0.0\0/8", "invalid IP address"),
        ("10.0.0.5/24", "it should be 10.0.0.0/24"),
        ("fd00::1/64", "it should be fd00::/64"),
        ("0.0.0.0/0", "is for no network of hosts"),
        ("127.1.0.0/16", "127.0.0.0/8 is for no network of hosts"),
        ("224.0.0.0/8", "is for no network of hosts"),
        ("::/0", "is for no network of hosts"),
        ("fe80::/64", "fe80::/10 is for no network of hosts"),
        ("ff02::/16", "is for no network of hosts"),
    ],
)
def test_what_is_no_subnet_is_refused(given, message):
    with pytest.raises(InvalidParameter, match=f"invalid subnet .*{message}"):
        ipam.parse_subnet(given)


@pytest.mark.parametrize(
    ("subnet", "first", "last"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
        ("10.0.0.0/30", "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/31", "10.0.0.0", "10.0.0.1"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
        ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff"),
        ("fd00::/127", "fd00::", "fd00::1"),
    ],
)
def test_hosts_have_neither_the_first_nor_the_broadcast_address(subnet, first, last):
    family = ipam.family_of(subnet)
    assert [ipam.text(number, family) for number in ipam.usable(subnet)] == [first, last]


def test_a_range_bounds_what_is_chosen():
    low, high = ipam.bounds("10.0.0.0/16", "10.0.5.0/24")
    assert (ipam.text(low, 4), ipam.text(high, 4)) == ("10.0.5.0", "10.0.5.255")
    low, high = ipam.bounds("10.0.0.0/24", "10.0.0.0/25")
    assert (ipam.text(low, 4), ipam.text(high, 4)) == ("10.0.0.1", "10.0.0.127")
    low, high = ipam.bounds("10.0.0.0/24", "10.0.0.128/25")
    assert (ipam.text(low, 4), ipam.text(high, 4)) == ("10.0.0.128", "10.0.0.254")


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_addresses_survive_the_way_there_and_back(address):
    family = ipam.family_of(str(address))
    assert family == address.version
    assert ipam.packed(str(address)) == address.packed
    # As the C library writes it, which has a way of its own for ::ffff:0:0.
    assert ipaddress.ip_address(ipam.text(ipam.number(str(address)), family)) == address


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_subnet_contains_what_it_contains(address, length):
    network = ipaddress.ip_network((address, length), strict=False)
    assert ipam.contains(str(network), str(address))
    assert ipam.ends(str(network)) == (int(network[0]), int(network[-1]))
    assert not ipam.contains(str(network), "fd00::1")
    outside = ipaddress.ip_address((int(network[-1]) + 1) % (1 << 32))
    assert ipam.contains(str(network), str(outside)) == (length == 0)


# Addresses


@st.composite
def pools(draw):
    """A small subnet, perhaps with a range, and addresses of it that are the network's own."""
    length = draw(st.integers(22, 32))
    base = ipaddress.ip_network((draw(st.ip_addresses(v=4)), length), strict=False)
    part = ""
    if draw(st.booleans()):
        longer = draw(st.integers(length, 32))
        inside = draw(st.integers(int(base[0]), int(base[-1])))
        part = str(ipaddress.ip_network((inside, longer), strict=False))
    own = draw(st.sets(st.integers(int(base[0]), int(base[-1])), max_size=6))
    return str(base), part, own


@given(pools(), st.lists(st.booleans(), max_size=80), st.data())
def test_every_lease_is_new_and_in_range_and_no_others(pool, actions, data):
    subnet, part, own = pool
    first, last = ipam.bounds(subnet, part)
    leases, after = Leases(own), 0
    mine: list[int] = []
    for take in actions:
        if not take and mine:
            leases.remove(mine.pop(data.draw(st.integers(0, len(mine) - 1))))
            continue
        found = ipam.next_free(first, last, after, leases.used)
        if found is None:
            assert leases.used(first, last) == last - first + 1
            continue
        assert found not in leases
        assert first <= found <= last
        network = ipaddress.ip_network(subnet)
        if network.prefixlen < 31:
            address = ipaddress.ip_address(found)
            assert address not in (network.network_address, network.broadcast_address)
        leases.add(found)
        mine.append(found)
        after = found


@given(st.integers(1, 60), st.sets(st.integers(0, 70)), st.integers(0, 70))
def test_the_next_one_is_the_nearest_behind_the_last(size, used, after):
    leases = Leases(used)
    order = [*range(after + 1, size + 1), *range(1, after + 1)] if 1 <= after <= size else [
        *range(1, size + 1)
    ]
    expected = next((number for number in order if number not in used), None)
    assert ipam.next_free(1, size, after, leases.used) == expected


def test_a_long_block_in_use_costs_few_questions():
    asked = []

    def used(first, last):
        asked.append((first, last))
        return max(0, min(last, 60_000) - first + 1)

    assert ipam.next_free(1, (1 << 24) - 2, 0, used) == 60_001
    assert len(asked) < 50


def test_an_ipv6_subnet_is_as_good():
    first, last = ipam.bounds("fd00::/48", "")
    second = ipam.next_free(first, last, 0, Leases({first}).used)
    assert second is not None
    assert ipam.text(second, 6) == "fd00::2"


# Subnets for networks that name none


def test_the_first_pool_comes_first():
    assert ipam.choose_subnet(ipam.DEFAULT_POOLS, []) == "172.17.0.0/16"


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (["172.17.0.0/16"], "172.18.0.0/16"),
        (["172.17.3.4/32"], "172.18.0.0/16"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
        (["172.16.0.0/12", "192.168.0.0/24", "192.168.17.0/24"], "192.168.32.0/20"),
        (["172.0.0.0/8", "192.168.0.0/16"], None),
        (["fd00::/8"], "172.17.0.0/16"),
    ],
)
def test_what_is_taken_is_gone_round(taken, expected):
    found = ipam.choose_subnet(ipam.DEFAULT_POOLS, map(ipaddress.ip_network, taken))
    assert found == expected


def test_a_large_pool_is_searched_by_what_is_taken():
    pool = AddressPool("10.0.0.0/8", 30)
    taken = [ipaddress.ip_network("10.0.0.0/9"), ipaddress.ip_network("10.128.0.4/30")]
    assert ipam.choose_subnet([pool], taken) == "10.128.0.0/30"
    taken.append(ipaddress.ip_network("10.128.0.0/31"))
    assert ipam.choose_subnet([pool], taken) == "10.128.0.8/30"


@given(
    st.lists(st.tuples(st.ip_addresses(v=4, network="172.16.0.0/12"), st.integers(10, 32))),
    st.integers(1, 30),
)
def test_chosen_subnets_meet_nothing(used, count):
    taken = [ipaddress.ip_network(pair, strict=False) for pair in used]
    for _ in range(count):
        found = ipam.choose_subnet(ipam.DEFAULT_POOLS, taken)
        if found is None:
            return
        subnet = ipaddress.IPv4Network(found)
        assert not any(subnet.overlaps(other) for other in taken)
        assert any(subnet.subnet_of(ipaddress.IPv4Network(p.base)) for p in ipam.DEFAULT_POOLS)
        taken.append(subnet)


def test_local_ipv6_subnets_are_private_and_of_one_host():
    one, other = ipam.local_pool("host"), ipam.local_pool("another")
    assert one == ipam.local_pool("host")
    assert one != other
    assert ipaddress.IPv6Network(one.base).subnet_of(ipaddress.IPv6Network("fd00::/8"))
    first = ipam.choose_subnet([one], [])
    assert first is not None
    second = ipam.choose_subnet([one], [ipaddress.ip_network(first)])
    assert second is not None
    assert first.endswith("/64")
    assert second.endswith("/64")
    assert first != second


# MAC addresses


def test_a_mac_tells_the_address():
    assert ipam.mac_of(ipam.packed("172.17.0.2")) == "02:42:ac:11:00:02"
    assert ipam.mac_of(ipam.packed("fd00::5")) == "02:42:00:00:00:05"


@pytest.mark.parametrize("given", ["92:d0:c6:0a:29:33", "92-D0-C6-0A-29-33"])
def test_a_mac_is_read(given):
    assert ipam.parse_mac(given) == "92:d0:c6:0a:29:33"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "six pairs"),
        ("92:d0:c6:0a:29", "six pairs"),
        ("92:d0:c6:0a:29:333", "six pairs"),
        ("92:d0:c6:0a:29:3g", "six pairs"),
        ("+2:d0:c6:0a:29:33", "six pairs"),
        ("93:d0:c6:0a:29:33", "multicast"),
        ("00:00:00:00:00:00", "no interface's"),
    ],
)
def test_what_is_no_mac_is_refused(given, message):
    with pytest.raises(InvalidParameter, match=message):
        ipam.parse_mac(given)
