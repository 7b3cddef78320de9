"""What the firewall does about the kernel's answers; and the text of its table."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from runengine.errors import EngineError, Unavailable, Unsupported
from runengine.linux.netlink import NetlinkError
from runengine.netns import conntrack, elements, nftables, ruleset
from runengine.netns.firewall import Firewall, TableMissing
from runengine.netns.types import Bridge, Published

GOLDEN = Path(__file__).parent / "golden"
BRIDGE = Bridge("br0", ("10.0.0.1/24", "fd00::1/64"))
WEB = Published("tcp", "0.0.0.0", 8080, "10.0.0.2", 80)
ROW = Published("udp", "::", 5000, "fd00::2", 5000, 100)


class Table:
    """The kernel's table, as far as adding and deleting goes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: dict[tuple[str, bytes], bytes] = {}
        self.errors: list[int] = []
        self.log: list[str] = []
        self.shape: str | None = ruleset.shape()
        monkeypatch.setattr(nftables, "added", lambda _, found: [("add", one) for one in found])
        monkeypatch.setattr(nftables, "deleted", lambda _, found: [("del", one) for one in found])
        monkeypatch.setattr(nftables, "commit", self.commit)
        monkeypatch.setattr(nftables, "dump", self.dump)
        monkeypatch.setattr(nftables, "comment", lambda _: self.shape)
        for name in ("forget_published", "forget_unpublished"):
            monkeypatch.setattr(conntrack, name, self.forgetting(name))

    def forgetting(self, name: str):
        return lambda _: self.log.append(name)

    def commit(self, messages) -> None:
        self.log.append(" ".join(verb for verb, _ in messages))
        if self.errors and (code := self.errors.pop(0)):
            raise NetlinkError(code, words="as told")
        there = dict(self.there)
        for verb, one in messages:
            key = (one.set, one.key)
            if verb == "add" and there.setdefault(key, one.value) != one.value:
                raise NetlinkError(errno.EEXIST)
            if verb == "del" and there.pop(key, None) is None:
                raise NetlinkError(errno.ENOENT)
        self.there = there

    def dump(self, _table: str, name: str):
        return [
            nftables.Stored(found, key, value, b"")
            for (found, key), value in self.there.items()
            if found == name
        ]


@pytest.fixture
def table(monkeypatch):
    return Table(monkeypatch)


@pytest.fixture
def firewall():
    return Firewall("runengine")


def test_a_port_is_one_transaction(table, firewall):
    firewall.publish([WEB])
    firewall.publish([WEB])
    firewall.withdraw([WEB])
    firewall.withdraw([WEB])
    assert not table.there
    assert table.log == [
        "add", "forget_unpublished", "add", "forget_unpublished",
        "add del", "forget_published", "add del", "forget_published",
    ]  # fmt: skip


def test_no_ports_are_no_transaction(table, firewall):
    firewall.publish([])
    firewall.withdraw([])
    assert not table.log


def test_another_containers_port_is_taken_over(table, firewall):
    firewall.publish([WEB])
    firewall.publish([WEB._replace(container_ip="10.0.0.3")])
    assert list(table.there.values()) == [bytes((10, 0, 0, 3, 0, 80, 0, 0))]
    assert "del add" in table.log


def test_another_containers_port_is_not_withdrawn(table, firewall):
    other = WEB._replace(host_port=9090)
    firewall.publish([WEB._replace(container_ip="10.0.0.3"), other])
    firewall.withdraw([WEB, other])
    assert list(table.there.values()) == [bytes((10, 0, 0, 3, 0, 80, 0, 0))]


def test_a_bridge_is_told_anew(table, firewall):
    firewall.add_network(BRIDGE)
    firewall.add_network(BRIDGE._replace(internal=True))
    assert {name for name, _ in table.there} == {"bridges", "internal", "within"}
    firewall.remove_network("br0")
    firewall.remove_network("br0")
    assert not table.there


def test_a_missing_table(table, firewall):
    table.errors = [errno.ENOENT] * 4
    with pytest.raises(TableMissing, match=r"cannot publish 0\.0\.0\.0:8080/tcp and 1 more"):
        firewall.publish([WEB, ROW])
    with pytest.raises(TableMissing, match="network reload"):
        firewall.add_network(BRIDGE)
    firewall.withdraw([WEB])
    firewall.remove_network("br0")


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (errno.EPERM, EngineError, r"cannot publish \[::\]:5000/udp.*CAP_NET_ADMIN"),
        (errno.EPROTONOSUPPORT, Unsupported, "CONFIG_NF_TABLES"),
        (errno.ENOMEM, EngineError, "as told"),
    ],
)
def test_refusals(table, firewall, code, kind, text):
    table.errors = [code]
    with pytest.raises(kind, match=text):
        firewall.publish([ROW])
    assert not table.there


def test_a_key_that_stays_taken_is_an_error(table, firewall):
    table.errors = [errno.EEXIST] * 5
    with pytest.raises(EngineError, match="cannot publish"):
        firewall.publish([WEB])
    assert len(table.log) == 5


def test_the_text(tmp_path):
    told = [*elements.of_bridge(BRIDGE), *elements.of_all([WEB, ROW])]
    text = ruleset.text("runengine", told, str(tmp_path / "none.nft"))
    assert text.replace(ruleset.shape(), "SHAPE") == (GOLDEN / "table.nft").read_text()


def test_the_operators_file_is_read_by_nft(tmp_path):
    file = tmp_path / "admin.nft"
    file.write_text("chain admin { }\n")
    assert f'include "{file}"' in ruleset.text("runengine", [], str(file))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EEXIST, errno.EOPNOTSUPP])
def test_a_table_that_is_anothers_counts_as_missing(table, firewall, code):
    table.shape = "an older one's"
    table.errors = [code, code, code]
    with pytest.raises(TableMissing, match="not of our making"):
        firewall.publish([WEB])
    firewall.withdraw([WEB])
    firewall.remove_network("br0")


def test_without_nft(monkeypatch):
    def missing(*_words, **_options):
        raise FileNotFoundError("nft")

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(Unavailable, match=r"make the firewall table runengine: .*nft is missing"):
        Firewall("runengine").replay([BRIDGE], [WEB])
