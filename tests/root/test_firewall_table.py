"""The table itself: transactions, idempotence, what others do to it, and the operator's rules."""

from __future__ import annotations

import select
import threading

import pytest

from runengine.errors import EngineError
from runengine.launcher.flushes import Flushes
from runengine.linux.netlink import NetlinkError
from runengine.netns import elements as elements_of_table
from runengine.netns import namespace, nftables
from runengine.netns.firewall import Firewall, TableMissing
from runengine.netns.types import Bridge, Published
from tests.support.capabilities import needs
from tests.support.hosts import Host

pytestmark = [pytest.mark.root, needs("nft", "ip")]

BRIDGE = Bridge("br-a", ("10.81.0.1/24",))
WEB = Published("tcp", "0.0.0.0", 8080, "10.81.0.2", 80)
ROW = Published("udp", "::", 5000, "fd81::2", 5000, 3000)
SHIFTED = Published("tcp", "127.0.0.1", 100, "10.81.0.2", 200, 3)
ALL = (WEB, ROW, SHIFTED)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with Host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def firewall(host, tmp_path):
    """An empty table, with the test's own process on the host."""
    fd = namespace.of_process(host.pid)
    with open(fd, "rb"), namespace.entered(fd):
        firewall = Firewall("runengine-test", admin_file=str(tmp_path / "admin.nft"))
        firewall.replay([], [])
        yield firewall
        host.ok("nft", "flush", "ruleset")


def elements(name: str) -> set[tuple[bytes, bytes]]:
    return {(one.key, one.value) for one in nftables.dump("runengine-test", name)}


def listing(host) -> str:
    return str(host.ok("nft", "list", "table", "inet", "runengine-test"))


def test_nothing_grows_but_elements(host, firewall):
    before = listing(host)
    firewall.add_network(BRIDGE)
    firewall.publish(ALL)
    firewall.withdraw(ALL)
    firewall.remove_network(BRIDGE.device)
    assert listing(host) == before


def test_a_port_and_a_row_are_one_element(firewall):
    firewall.publish(ALL)
    assert len(elements("everywhere4")) == 1
    assert len(elements("ranges6")) == len(elements("loopback_ranges6")) == 1
    assert len(elements("ports4")) == 3


def test_everything_may_be_done_twice(host, firewall):
    for _ in range(2):
        firewall.add_network(BRIDGE)
        firewall.publish(ALL)
    once = listing(host)
    firewall.publish([WEB, WEB])
    assert listing(host) == once
    for _ in range(2):
        firewall.withdraw(ALL)
        firewall.remove_network(BRIDGE.device)
    for _ in range(2):
        firewall.remove()
        assert not firewall.is_whole()


def test_replaying_gives_what_single_steps_give(host, firewall):
    firewall.add_network(BRIDGE)
    firewall.publish(ALL)
    stepwise = listing(host)
    firewall.replay([BRIDGE], ALL)
    assert listing(host) == stepwise


def test_a_bridge_is_what_it_was_last_said_to_be(firewall):
    firewall.add_network(BRIDGE)
    firewall.add_network(BRIDGE._replace(internal=True, icc=False))
    assert [len(elements(name)) for name in ("bridges", "internal", "masqueraded", "within")] == [
        1, 1, 0, 0
    ]  # fmt: skip


def test_what_led_elsewhere_is_led_here(firewall):
    firewall.publish(ALL)
    moved = [one._replace(container_ip=one.container_ip[:-1] + "9") for one in ALL]
    firewall.publish(moved)
    assert elements("everywhere4") == {
        (bytes((6, 0, 0, 0)) + (8080).to_bytes(2) + bytes(2), bytes((10, 81, 0, 9, 0, 80, 0, 0)))
    }
    firewall.withdraw(ALL)  # they lead elsewhere by now
    assert len(elements("ports4")) == 3
    firewall.withdraw(moved)
    assert not elements("ports4") | elements("everywhere4") | elements("ranges6")


def test_a_row_that_overlaps_an_old_one_takes_its_place(firewall):
    firewall.publish([ROW])
    firewall.publish([ROW._replace(host_port=6000, container_port=6000, container_ip="fd81::3")])
    assert len(elements("ranges6")) == 1


def test_all_or_none(firewall, monkeypatch):
    """The last element's set is not there."""
    monkeypatch.setitem(elements_of_table.KINDS, "nowhere", elements_of_table.KINDS["ports4"])
    good = elements_of_table.of_all([WEB, SHIFTED])
    bad = good[-1]._replace(set="nowhere")
    messages = nftables.added("runengine-test", nftables.encode([*good, bad]))
    with pytest.raises(NetlinkError):
        nftables.commit(messages)
    assert not elements("everywhere4") | elements("ports4")


def test_a_flushed_ruleset_is_noticed(host, firewall):
    firewall.publish(ALL)
    assert firewall.is_whole()
    host.ok("nft", "flush", "ruleset")
    assert not firewall.is_whole()
    for change in (lambda: firewall.publish([WEB]), lambda: firewall.add_network(BRIDGE)):
        with pytest.raises(TableMissing, match="runengine-test is missing"):
            change()
    firewall.withdraw(ALL)
    firewall.remove_network(BRIDGE.device)
    firewall.replay([BRIDGE], ALL)
    assert firewall.is_whole()


@pytest.mark.parametrize(
    "content",
    [
        "map everywhere4 { type ipv4_addr : ipv4_addr; }",
        "set everywhere4 { type ipv4_addr; }\nset bridges { type ipv4_addr; }",
        "chain everywhere4 { }",
    ],
)
def test_a_table_that_is_not_of_our_making_holds_nobody_up(host, firewall, content):
    host.ok("nft", "delete table inet runengine-test")
    host.ok("nft", f"table inet runengine-test {{ {content}\n}}")
    for change in (lambda: firewall.publish([WEB]), lambda: firewall.add_network(BRIDGE)):
        with pytest.raises(TableMissing):
            change()
    firewall.withdraw(ALL)
    firewall.remove_network(BRIDGE.device)
    firewall.replay([BRIDGE], ALL)
    assert firewall.is_whole()


def test_nothing_of_others_is_touched(host, firewall):
    host.ok("nft", "add table inet mine; add chain inet mine own { type filter hook input"
            " priority 0; policy drop; }; add table inet runengine")  # fmt: skip
    theirs = host.ok("nft", "list", "table", "inet", "mine")
    firewall.replay([BRIDGE], ALL)
    firewall.publish(ALL)
    firewall.remove()
    assert host.ok("nft", "list", "tables") == "table inet mine\ntable inet runengine"
    assert host.ok("nft", "list", "table", "inet", "mine") == theirs


def test_a_table_of_another_shape_is_not_whole(host, firewall):
    firewall.remove()
    host.ok("nft", 'add table inet runengine-test { comment "runengine 0123456789ab"; }')
    assert not firewall.is_whole()
    with pytest.raises(TableMissing):
        firewall.publish([WEB])
    firewall.replay([], [WEB])
    assert firewall.is_whole()


def test_the_operators_rules_survive_a_replay(host, firewall, tmp_path):
    (tmp_path / "admin.nft").write_text(
        "set friends { type ipv4_addr; elements = { 198.51.100.2 }; }\n"
        "chain admin { ip saddr != @friends ct status dnat drop; }\n"
    )
    for _ in range(2):
        firewall.replay([BRIDGE], ALL)
        rules = host.ok("nft", "list", "chain", "inet", "runengine-test", "admin")
        assert rules.count("ip saddr != @friends ct status dnat drop") == 1


def test_the_operators_mistake_is_shown_and_changes_nothing(host, firewall, tmp_path):
    firewall.publish([WEB])
    (tmp_path / "admin.nft").write_text("chain admin { nonsense; }\n")
    with pytest.raises(EngineError, match=r"admin\.nft:1:"):
        firewall.replay([], [])
    assert len(elements("everywhere4")) == 1


def test_many_at_once(firewall):
    """Sixteen threads publish and withdraw; each sees its own ports, and nothing else is lost."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        mine = [WEB._replace(host_port=1000 * number + offset) for offset in range(8)]
        try:
            for _ in range(5):
                firewall.publish(mine)
                firewall.withdraw(mine)
            firewall.publish(mine)
        except BaseException as error:  # noqa: BLE001  it is reported by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(elements("everywhere4")) == 16 * 8


def test_three_thousand_ports_one_by_one(firewall):
    many = [WEB._replace(host_port=10000 + offset) for offset in range(3000)]
    firewall.publish(many)
    assert len(elements("everywhere4")) == 3000
    firewall.withdraw(many)
    assert not elements("everywhere4")


def test_a_flush_is_heard_and_elements_wake_nobody(firewall, host):
    """What the service sleeps on."""

    def woken() -> bool:
        return bool(select.select([flushes], [], [], 0)[0])

    flushes = Flushes("runengine-test")
    try:
        firewall.add_network(BRIDGE)
        firewall.publish([WEB])
        firewall.withdraw([WEB])
        assert not woken()
        host.ok("nft", "add", "table", "inet", "other")
        assert (woken(), flushes.heard()) == (True, False)
        host.ok("nft", "delete", "table", "inet", "other")
        assert (woken(), flushes.heard()) == (True, False)
        host.ok("nft", "flush", "ruleset")
        assert (woken(), flushes.heard()) == (True, True)
        assert not woken()
        firewall.replay([BRIDGE], [WEB])
        firewall.replay([BRIDGE], [WEB])
        assert (woken(), flushes.heard()) == (True, False)
        host.ok("nft", "delete", "table", "inet", "runengine-test")
        assert flushes.heard()
    finally:
        flushes.close()
