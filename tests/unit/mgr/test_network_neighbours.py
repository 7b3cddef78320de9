"""Names on networks without a resolver: what the hosts files of the containers there say."""

from __future__ import annotations

import pytest

from runengine.mgr.container import network_files
from runengine.mgr.network.request import network_config
from runengine.store.network_types import WantedEndpoint

LAN = "192.0.2.0/24"


@pytest.fixture
def lan(networks):
    config = {
        **network_config("macvlan"),
        "IPAM": [{"Subnet": LAN}, {"Subnet": "fd00:2::/64"}],
        "Options": {"parent": "eth0"},
    }
    return networks.create("lan", config)


@pytest.fixture
def join(networks, lan, add, tmp_path):
    """Add a container that is on the network, with a hosts file; the record and the file."""

    def join_one(name, *aliases, links=()):
        path = tmp_path / name / "hosts"
        path.parent.mkdir()
        path.write_text("127.0.0.1\tlocalhost\n10.9.9.9\tof-the-user\n")
        record = add(name, details={"network_files": {network_files.HOSTS: str(path)}})
        wish = WantedEndpoint("lan", aliases=aliases, links=links, interface="eth0")
        networks.reserve(record.id, [wish])
        networks.refresh_names([lan.id])
        return record, path

    return join_one


def lines(path):
    """Those about the network, without the mark."""
    mark = "\t# network lan"
    return [line.removesuffix(mark) for line in path.read_text().splitlines() if mark in line]


def test_everybody_knows_everybody(join):
    web, of_web = join("web", "www")
    db, of_db = join("db")
    wanted = [
        f"192.0.2.2\tweb www {web.id[:12]} web.lan",
        f"fd00:2::2\tweb www {web.id[:12]} web.lan",
        f"192.0.2.3\tdb {db.id[:12]} db.lan",
        f"fd00:2::3\tdb {db.id[:12]} db.lan",
    ]
    assert lines(of_web) == wanted
    assert lines(of_db) == wanted
    assert of_web.read_text().startswith("127.0.0.1\tlocalhost\n10.9.9.9\tof-the-user\n192")


def test_who_leaves_is_forgotten(join, networks, lan):
    join("web")
    db, of_db = join("db")
    networks.release(db.id)
    before = of_db.stat()
    _, of_new = join("new")
    assert [line.split()[1] for line in lines(of_new)] == ["web", "web", "new", "new"]
    assert of_db.stat().st_mtime_ns == before.st_mtime_ns  # it is somebody's no more
    networks.refresh_names([lan.id])
    assert len(lines(of_new)) == 4


def test_links_are_names_for_one(join):
    _, of_db = join("db")
    _, of_web = join("web", links=("db:store",))
    assert lines(of_web)[0].endswith(" db.lan store")
    assert "store" not in of_db.read_text()


def test_an_alias_that_no_hosts_file_can_hold_is_left_out(join):
    web, of_web = join("web", "a b#c")
    assert lines(of_web)[0] == f"192.0.2.2\tweb {web.id[:12]} web.lan"


def test_files_keep_their_inode_and_may_be_gone(join, networks, lan):
    _, of_web = join("web")
    _, of_db = join("db")
    inode = of_web.stat().st_ino
    of_db.unlink()
    join("new")
    assert of_web.stat().st_ino == inode
    assert not of_db.exists()
    networks.refresh_names([lan.id])


def test_who_is_disconnected_knows_nobody_there(join, networks, context, monkeypatch):
    record, of_web = join("web")
    before = networks.endpoints_of(record.id)
    monkeypatch.setattr(network_files, "_resolv_conf", lambda *_: "")
    details = {**record.details, "hostname": "web"}
    details["network_files"] = {**details["network_files"], network_files.RESOLV_CONF: "/nowhere"}
    host = {**record.host_config, "NetworkMode": "lan"}
    record = record._replace(details=details, host_config=host)
    network_files.change(context, record, before, [])
    assert lines(of_web) == []
    assert "of-the-user" in of_web.read_text()
