"""``system check`` on a real engine: damage of each kind is found, and repaired."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3

import pytest

from runengine.linux import pidfd
from tests.support.hosts import Host, HostCommandLine
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("overlay")]

CLEAN = "Everything is as it should be"
GONE = "f" * 64


@pytest.fixture(scope="module")
def shared(tmp_path_factory, busybox_tar):
    """A host and the command line of an engine on it that has the image busybox."""
    with Host(tmp_path_factory.mktemp("host")) as host:
        cli = HostCommandLine(tmp_path_factory.mktemp("engine"), host)
        cli.ok("import", str(busybox_tar), "busybox")
        yield cli
        cli.close()


@pytest.fixture
def plain(shared):
    """The same without containers, before and after."""
    yield shared
    shared.clear()


@pytest.fixture
def cli(plain):
    """The same with a network; nothing may differ afterwards."""
    assert plain.call("network", "create", "net").code == 0
    yield plain
    plain.clear()
    plain.ok("network", "rm", "net")
    assert plain.ok("system", "check") == CLEAN


def run(cli, *flags, network="net"):
    done = cli.call("run", "-d", "--name", "web", "--network", network, *flags, "busybox",
                    "sleep", "1000")
    assert done.code == 0, done
    return done.out.strip()


def differences(cli, *flags):
    """What the check tells: kind and name, and what became of it."""
    document = json.loads(cli.call("system", "check", "--format", "json", *flags).out)
    return {(one["Kind"], one["Name"]): one["State"] for one in document["Differences"]}


def repair(cli):
    """Repair everything; then nothing differs."""
    found = differences(cli, "--repair")
    assert set(found.values()) == {"repaired"}, found
    assert cli.ok("system", "check") == CLEAN
    return set(found)


def bridge_of(cli):
    """The network's bridge."""
    names = [link["ifname"] for link in json.loads(cli.host.ok("ip", "-json", "link"))]
    return next(name for name in names if name.startswith("br-"))


def monitor_of(cli, name):
    return pidfd.parent(cli.pid_of(name))


def test_whatever_is_in_order(cli):
    run(cli, "-p", "8080:80", "-v", "data:/data")
    assert cli.ok("system", "check") == CLEAN
    cli.ok("stop", "-t", "0", "web")
    cli.ok("mount", "web")
    assert cli.ok("system", "check") == CLEAN
    cli.ok("rm", "web")
    cli.ok("volume", "rm", "data")


def test_an_end_that_nobody_saw(cli):
    run(cli, "-p", "8080:80")
    init = cli.pid_of("web")
    os.kill(monitor_of(cli, "web"), signal.SIGKILL)
    wait_for(lambda: differences(cli) == {("container", "web"): "found"}, "it is told")
    assert cli.call("system", "check", "--repair").code == 1  # nobody restarts it unasked
    os.kill(init, signal.SIGKILL)
    wait_for(lambda: pidfd.start_time(init) is None, "the init has ended")
    assert repair(cli) == {("container", "web")}
    assert cli.state_of("web") == "exited"


def test_everything_of_a_container_without_a_record(cli):
    container_id = run(cli, "-p", "8080:80")
    init, monitor = cli.pid_of("web"), monitor_of(cli, "web")
    with sqlite3.connect(f"{cli.root}/state.db") as database:
        database.execute("PRAGMA foreign_keys=ON")
        database.execute("DELETE FROM containers WHERE id = ?", (container_id,))
    database.close()
    kinds = {kind for kind, _ in differences(cli)}
    assert {"process", "runtime", "mount", "files", "link", "firewall"} <= kinds
    repair(cli)
    assert [pid for pid in (init, monitor) if pidfd.start_time(pid) is not None] == []
    assert not [path for path, _, _ in os.walk("/sys/fs/cgroup") if path.endswith(container_id)]
    assert not os.path.exists(f"{cli.root}/containers/{container_id}")


def test_mounts_and_links_of_nobody(cli):
    run(cli)
    bridge = bridge_of(cli)
    merged = f"{cli.root}/containers/{GONE}/merged"
    os.makedirs(merged)
    cli.host.ok("mount", "-t", "tmpfs", "none", merged)
    name = "ve0123456789ab"
    cli.host.ok("ip", "link", "add", name, "type", "veth", "peer", "name", "peer0")
    cli.host.ok("ip", "link", "set", name, "master", bridge)
    found = differences(cli)
    assert {("mount", merged), ("link", name)} <= found.keys()
    repair(cli)
    assert name not in cli.host.ok("ip", "link")
    assert merged not in cli.host.ok("cat", "/proc/mounts")


def test_the_firewall_has_too_much_or_too_little_and_the_bridge_goes(cli):
    run(cli, "-p", "8080:80")
    (table,) = [
        line.split()[2] for line in cli.host.ok("nft", "list", "tables").splitlines()
        if "runengine" in line
    ]  # fmt: skip
    element = "{ tcp . 9999 : 10.1.2.3 . 80 }"
    cli.host.ok("nft", "add", "element", "inet", table, "everywhere4", element)
    assert repair(cli) == {("firewall", table)}
    assert "9999" not in cli.host.ok("nft", "list", "table", "inet", table)
    cli.host.ok("nft", "delete", "element", "inet", table, "everywhere4",
                "{ tcp . 8080 }")
    assert repair(cli) == {("firewall", table)}
    assert "8080" in cli.host.ok("nft", "list", "table", "inet", table)
    cli.host.ok("nft", "delete", "table", "inet", table)
    assert repair(cli) == {("firewall", table)}
    bridge = bridge_of(cli)
    cli.host.ok("ip", "link", "delete", bridge)
    assert ("network", "net") in repair(cli)
    gateway = cli.ok("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "net")
    assert cli.call("exec", "web", "ping", "-c1", "-W2", gateway).code == 0


def test_an_address_of_nobody(cli):
    container_id = run(cli)
    cli.ok("stop", "-t", "0", "web")
    with sqlite3.connect(f"{cli.root}/state.db") as database:
        (network,) = database.execute("SELECT id FROM networks WHERE name = 'net'").fetchone()
        database.execute(
            "INSERT INTO leases VALUES (?, ?, ?, 'address')",
            (network, bytes([10, 99, 0, 9]), container_id),
        )
    database.close()
    assert repair(cli) == {("lease", "10.99.0.9")}


def test_a_layer_that_is_gone_or_damaged(plain):
    (layer,) = [name for name in os.listdir(f"{plain.root}/layers") if len(name) == 64]
    shutil.rmtree(f"{plain.root}/layers/{layer}")
    assert repair(plain) == {("layer", layer[:12])}
    os.makedirs(f"{plain.root}/layers/staging/dead/diff/bin")
    assert repair(plain) == {("garbage", str(plain.root))}
    run(plain, network="none")
    os.unlink(f"{plain.root}/layers/{layer}/diff/bin/cat")
    done = plain.call("image", "verify", "--quiet", "--repair", "busybox")
    assert done.code == 1
    assert "is mounted by web" in done.out
    plain.ok("stop", "-t", "0", "web")
    assert plain.call("image", "verify", "--quiet", "--repair", "busybox").code == 0
    plain.ok("start", "web")
    assert plain.ok("exec", "web", "cat", "/dev/null") == ""


def test_a_blob_that_was_cut(plain):
    layers = {
        os.path.getsize(f"{plain.root}/blobs/sha256/{name}"): name
        for name in os.listdir(f"{plain.root}/blobs/sha256")
    }
    blob = f"{plain.root}/blobs/sha256/{layers[max(layers)]}"
    shutil.copy2(blob, f"{plain.root}/saved")
    os.truncate(blob, 1000)
    digest = f"sha256:{layers[max(layers)]}"
    assert differences(plain) == {("blob", digest): "found"}
    assert differences(plain, "--repair") == {("blob", digest): "failed"}  # no registry has it
    os.replace(f"{plain.root}/saved", blob)
    assert plain.ok("system", "check") == CLEAN
