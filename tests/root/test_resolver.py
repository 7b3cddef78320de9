"""The resolver's process on a host of the test's own: bridges, containers, a server outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.rcode
import pytest

from runengine.errors import Unavailable
from runengine.linux import pidfd
from runengine.netns import namespace
from runengine.paths import Paths
from runengine.resolver import control, launch, tables
from runengine.resolver.tables import Host as Entry
from runengine.resolver.tables import Table
from tests.support.capabilities import needs
from tests.support.command_line import REPOSITORY
from tests.support.hosts import Host, wire
from tests.support.nameservers import ADDRESS, NameServer, ask, found, truncating
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, needs("ip", "unshare", "nsenter")]

WORLD = "10.88.9.2"
FRONT = Table(
    "n1",
    "front",
    ("10.88.1.1", "fd88:1::1"),
    ("10.88.1.0/24", "fd88:1::/64"),
    (Entry("web-id", ("web", "www"), ("10.88.1.2", "fd88:1::2")),
     Entry("shop-id", ("shop", "www"), ("10.88.1.3",))),
    (WORLD,),
)  # fmt: skip
BACK = Table(
    "n2", "back", ("10.88.2.1",), ("10.88.2.0/24",),
    (Entry("db-id", ("db",), ("10.88.2.2",)),), (WORLD,), internal=True,
)  # fmt: skip
ENSURE = "import sys; from runengine.paths import Paths; from runengine.resolver import launch; "
ENSURE += "launch.ensure(Paths(sys.argv[1], sys.argv[1]))"


class Net:
    """A host with two bridges, a container on each, and the world behind a wire."""

    def __init__(self, directory: Path) -> None:
        self.host, self.web, self.db, self.world = (
            Host(directory / name) for name in ("host", "web", "db", "world")
        )
        self.fds = {
            host.pid: namespace.of_process(host.pid)
            for host in (self.host, self.web, self.db, self.world)
        }
        self.bridge("br0", "10.88.1.1/24", "fd88:1::1/64")
        self.bridge("br1", "10.88.2.1/24")
        self.plug(self.web, "br0", "10.88.1.2/24", "fd88:1::2/64")
        self.plug(self.db, "br1", "10.88.2.2/24")
        wire(self.host, "10.88.9.1/24", self.world, f"{WORLD}/24")
        self.world.ok("ip", "route", "add", "10.88.0.0/16", "via", "10.88.9.1")

    def bridge(self, name: str, *addresses: str) -> None:
        self.host.ok("ip", "link", "add", name, "type", "bridge")
        for address in addresses:
            self.host.ok("ip", "address", "add", address, "dev", name, "nodad")
        self.host.ok("ip", "link", "set", name, "up")

    def plug(self, container: Host, bridge: str, *addresses: str) -> None:
        port = f"port{container.pid}"
        self.host.ok("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns",
                     str(container.pid))  # fmt: skip
        self.host.ok("ip", "link", "set", port, "master", bridge, "up")
        for address in addresses:
            container.ok("ip", "address", "add", address, "dev", "eth0", "nodad")
        container.ok("ip", "link", "set", "eth0", "up")
        gateway = addresses[0].rpartition(".")[0] + ".1"
        container.ok("ip", "route", "add", "default", "via", gateway)

    def ask(self, who: Host, server: str, name: str, rdtype: str = "A", **options):
        with namespace.entered(self.fds[who.pid]):
            return ask(server, name, rdtype, **options)

    def server(self, who: Host, address: str, *behaviour) -> NameServer:
        with namespace.entered(self.fds[who.pid]):
            return NameServer(address, 53, *behaviour)

    def starter(self, script: str, paths: Paths) -> list[str]:
        """The command line of a script on the host; entering a mount namespace, it begins at /."""
        path = f"PYTHONPATH={REPOSITORY}"
        return self.host.command("env", path, sys.executable, "-c", script, paths.state)

    def ensure(self, paths: Paths) -> int:
        """Have a resolver on the host; its pid."""
        with namespace.entered(self.fds[self.host.pid]):
            launch.ensure(paths)
        return pid_of(paths)

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        for host in (self.host, self.web, self.db, self.world):
            host.close()


def directory_of(paths: Paths) -> str:
    return launch.directory_of(paths)


def pid_of(paths: Paths) -> int:
    answer = control.ask(directory_of(paths))
    assert answer is not None
    return answer.pid


def processes(paths: Paths) -> list[int]:
    """Resolvers of this directory, by their command lines."""
    wanted = directory_of(paths).encode()
    found_pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if wanted in words and launch.BOOT.encode() in words:
                found_pids.append(int(entry.name))
    return found_pids


def await_end(paths: Paths) -> None:
    for network_id in tables.ids(directory_of(paths)):
        tables.remove(directory_of(paths), network_id)
    wait_for(lambda: not processes(paths), "the resolver ends with its tables")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    made = Net(tmp_path)
    yield made
    made.close()


@pytest.fixture
def paths(roots: Paths) -> Iterator[Paths]:
    """An engine with both networks; its resolver is gone in the end."""
    for table in (FRONT, BACK):
        tables.write(directory_of(roots), table)
    yield roots
    await_end(roots)


@pytest.fixture
def upstream(net: Net) -> Iterator[NameServer]:
    server = net.server(net.world, WORLD)
    yield server
    server.close()


EVERY_WAY = pytest.mark.parametrize(
    ("gateway", "over_tcp"),
    [(gateway, over_tcp) for gateway in FRONT.gateways for over_tcp in (False, True)],
    ids=["v4-udp", "v4-tcp", "v6-udp", "v6-tcp"],
)


@EVERY_WAY
def test_containers_find_each_other_and_the_world(net, paths, upstream, gateway, over_tcp):
    net.ensure(paths)

    def answers(name, rdtype="A"):
        return found(net.ask(net.web, gateway, name, rdtype, stream=over_tcp))

    assert answers("shop") == ["10.88.1.3"]
    assert answers("shop", "AAAA") == []
    assert answers("web.front", "AAAA") == ["fd88:1::2"]
    assert sorted(answers("www")) == ["10.88.1.2", "10.88.1.3"]
    assert answers("3.1.88.10.in-addr.arpa", "PTR") == ["shop.front."]
    assert upstream.queries == []
    assert answers("example.org") == [ADDRESS]
    assert answers("db") == [ADDRESS], "an unknown name is the world's"
    assert upstream.names() == ["example.org.", "db."]
    assert {address for address, _ in upstream.sources} == {"10.88.9.1"}


def test_an_internal_network_stays_inside(net, paths, upstream):
    net.ensure(paths)
    assert found(net.ask(net.db, "10.88.2.1", "db")) == ["10.88.2.2"]
    assert net.ask(net.db, "10.88.2.1", "example.org").rcode() == dns.rcode.NXDOMAIN
    assert upstream.queries == []


def test_the_world_is_refused(net, paths, upstream):
    """The gateway's address can be reached from outside, by a route."""
    net.ensure(paths)
    for name in ("web", "example.org"):
        for over_tcp in (False, True):
            answer = net.ask(net.world, "10.88.1.1", name, stream=over_tcp)
            assert answer.rcode() == dns.rcode.REFUSED
    assert upstream.queries == []


def test_a_container_sees_its_own_networks_at_another_gateway(net, paths):
    net.host.ok("sysctl", "-q", "net.ipv4.ip_forward=1")
    net.ensure(paths)
    assert found(net.ask(net.db, "10.88.1.1", "db")) == ["10.88.2.2"]
    assert net.ask(net.db, "10.88.1.1", "web").rcode() == dns.rcode.NXDOMAIN


def test_the_host_itself_may_ask(net, paths):
    net.ensure(paths)
    assert found(net.ask(net.host, "10.88.1.1", "shop")) == ["10.88.1.3"]


def test_a_truncated_answer_is_whole_over_tcp(net, paths, upstream):
    upstream.behaviour = truncating
    net.ensure(paths)
    assert net.ask(net.web, "10.88.1.1", "big.example").flags & dns.flags.TC
    assert len(found(net.ask(net.web, "10.88.1.1", "big.example", stream=True))) == 200


def test_it_listens_before_the_bridge_is_there_and_after_it_came_back(net, paths):
    for device in ("br0", "br1"):
        net.host.ok("ip", "link", "delete", device)
    net.ensure(paths)
    for round_trip in range(2):
        net.bridge("br0", "10.88.1.1/24", "fd88:1::1/64")
        net.host.ok("ip", "link", "set", f"port{net.web.pid}", "master", "br0")
        for gateway in FRONT.gateways:
            assert found(net.ask(net.web, gateway, "shop")) == ["10.88.1.3"], round_trip
        net.host.ok("ip", "link", "delete", "br0")


def test_no_query_is_lost_while_tables_change(net, paths, upstream):
    net.ensure(paths)
    stop = threading.Event()
    asked = []

    def ask_on(number):
        count = 0
        while not stop.is_set():
            name, expected = (("web", "10.88.1.2"), ("example.org", ADDRESS))[count % 2]
            answer = net.ask(
                net.web, FRONT.gateways[number % 2], name, stream=number == 3, timeout_s=20
            )
            assert found(answer) == [expected]
            count += 1
        asked.append(count)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask_on, number) for number in range(4)]
        try:
            for turn in range(150):
                extra = tuple(
                    Entry(f"c{n}", (f"c{n}",), (f"10.88.1.{n}",)) for n in range(10, 10 + turn)
                )
                tables.write(directory_of(paths), FRONT._replace(hosts=FRONT.hosts + extra))
                if turn % 10 == 0:
                    tables.remove(directory_of(paths), "n2")
                    tables.write(directory_of(paths), BACK)
                    net.ensure(paths)
        finally:
            stop.set()
        for one in running:
            one.result()
    assert min(asked) > 1


def test_a_killed_one_is_replaced(net, paths):
    first = net.ensure(paths)
    assert net.ensure(paths) == first
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: pidfd.start_time(first) is None, "killed")
    with pytest.raises(dns.exception.Timeout):
        net.ask(net.web, "10.88.1.1", "shop", timeout_s=0.2)
    second = net.ensure(paths)
    assert second != first
    assert processes(paths) == [second]
    assert found(net.ask(net.web, "10.88.1.1", "shop")) == ["10.88.1.3"]


def test_sixteen_at_once_start_one(net, paths):
    argv = net.starter(ENSURE, paths)
    starting = [subprocess.Popen(argv, stderr=subprocess.PIPE) for _ in range(16)]
    for process in starting:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, b"")
    assert processes(paths) == [pid_of(paths)]


def test_it_starts_while_another_one_ends(net, paths):
    """Tables come and go as fast as containers do: whoever is told that it runs can rely on it."""
    tables.remove(directory_of(paths), "n2")
    for turn in range(20):
        tables.write(directory_of(paths), FRONT)
        if turn % 2:
            tables.remove(directory_of(paths), "n1")  # it is about to end, or not yet
            tables.write(directory_of(paths), FRONT)
        net.ensure(paths)
        assert found(net.ask(net.web, "10.88.1.1", "shop", timeout_s=30)) == ["10.88.1.3"]
        tables.remove(directory_of(paths), "n1")


def test_it_ends_with_the_last_table_and_leaves_no_socket(net, paths):
    pid = net.ensure(paths)
    tables.remove(directory_of(paths), "n1")
    net.ensure(paths)
    assert processes(paths) == [pid]
    tables.remove(directory_of(paths), "n2")
    wait_for(lambda: not processes(paths), "it ends")
    assert sorted(os.listdir(directory_of(paths))) == ["lock", "starting"]


def test_it_ends_when_its_directory_is_removed(net, paths):
    net.ensure(paths)
    directory = directory_of(paths)
    subprocess.run(["rm", "-r", directory], check=True)
    wait_for(lambda: not processes(paths), "it ends")
    assert not os.path.exists(directory)


def test_two_engines_on_one_host(net, paths, tmp_path):
    other = Paths(f"{tmp_path}/other", f"{tmp_path}/other")
    net.bridge("br2", "10.88.3.1/24")
    table = FRONT._replace(
        gateways=("10.88.3.1",), subnets=("10.88.3.0/24",),
        hosts=(Entry("x", ("web",), ("10.88.3.2",)),),
    )  # fmt: skip
    tables.write(directory_of(other), table)
    try:
        assert net.ensure(other) != net.ensure(paths)
        assert found(net.ask(net.host, "10.88.3.1", "web")) == ["10.88.3.2"]
        assert found(net.ask(net.host, "10.88.1.1", "web")) == ["10.88.1.2"]
        tables.write(directory_of(other), table._replace(network_id="n3", gateways=("10.88.1.1",)))
        with pytest.raises(Unavailable, match=r"gateway 10\.88\.1\.1: another program has port"):
            net.ensure(other)
        with namespace.entered(net.fds[net.host.pid]):
            launch.ensure(other, ["10.88.3.1"])  # others' trouble
        assert found(net.ask(net.host, "10.88.3.1", "web")) == ["10.88.3.2"]
    finally:
        await_end(other)


def test_it_keeps_nothing_of_who_started_it(net, paths, tmp_path):
    """Descriptors, environment, session, directory, limits, and what was ignored."""
    script = f"""
import os, resource, signal
os.environ["SECRET"] = "x"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setpriority(os.PRIO_PROCESS, 0, 10)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
for fd in (os.open({str(tmp_path)!r}, os.O_RDONLY), *os.pipe()):
    os.set_inheritable(fd, True)
{ENSURE.replace("; ", chr(10))}
print(os.getsid(0), flush=True)
"""
    argv = net.starter(script, paths)
    starter = subprocess.run(argv, capture_output=True, text=True, check=True)
    pid = pid_of(paths)
    base = Path(f"/proc/{pid}")
    assert (base / "environ").read_bytes() == b"PATH=" + launch.ENVIRONMENT[
        "PATH"
    ].encode() + b"\0"
    assert (base / "cwd").readlink() == Path("/")
    assert (base / "comm").read_text() == "runengine-dns\n"
    targets = [os.readlink(entry) for entry in (base / "fd").iterdir()]
    assert targets.count("/dev/null") == 3
    allowed = ("socket:", "anon_inode:", "/dev/null", f"{directory_of(paths)}/lock")
    assert all(target.startswith(allowed) for target in targets), targets
    assert os.getsid(pid) != int(starter.stdout)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 0
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    status = dict(line.split(":\t", 1) for line in (base / "status").read_text().splitlines())
    assert not int(status["SigIgn"], 16) & 1 << signal.SIGTERM - 1
    assert status["Umask"] == "0077"
    limits = (base / "limits").read_text()
    assert "Max open files            4096                 4096" in limits


def test_idle_is_asleep(net, paths, upstream):
    pid = net.ensure(paths)
    assert found(net.ask(net.web, "10.88.1.1", "example.org", stream=True)) == [ADDRESS]
    assert found(net.ask(net.web, "10.88.1.1", "web")) == ["10.88.1.2"]

    def switches():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return [line for line in lines if line.startswith("voluntary_ctxt_switches")]

    def sleeps():
        before = switches()
        time.sleep(2)
        return switches() == before

    wait_for(sleeps, "no wake-up in two seconds")


def test_one_that_hangs_is_named(net, paths, monkeypatch):
    monkeypatch.setattr(control, "TIMEOUT_S", 0.2)
    pid = net.ensure(paths)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="does not answer: timed out"):
            net.ensure(paths)
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert net.ensure(paths) == pid


def test_one_that_cannot_start_is_explained(net, paths):
    os.mkdir(f"{directory_of(paths)}/{control.NAME}")
    with pytest.raises(Unavailable, match=r"does not start: the resolver ends: IsADirectoryError"):
        net.ensure(paths)
    os.rmdir(f"{directory_of(paths)}/{control.NAME}")
    net.ensure(paths)


@contextmanager
def file_in_place(host: Host, content: str, target: str, directory: Path) -> Iterator[Path]:
    """Another content for a file, on one host alone; it may be written to."""
    source = directory / "in-place"
    source.write_text(content)
    host.ok("mount", "--bind", str(source), target)
    yield source
    host.ok("umount", target)


def test_the_hosts_resolv_conf_is_followed(net, paths, upstream, tmp_path):
    """systemd-resolved's local server first; later somebody else's, without a restart."""
    tables.write(directory_of(paths), FRONT._replace(upstream=None))
    local = net.server(net.host, "127.0.0.53")
    try:
        with file_in_place(
            net.host, "nameserver 127.0.0.53\n", "/etc/resolv.conf", tmp_path
        ) as conf:
            subprocess.run(net.starter(ENSURE, paths), check=True)
            assert found(net.ask(net.web, "10.88.1.1", "one.example")) == [ADDRESS]
            assert (local.names(), upstream.names()) == (["one.example."], [])
            conf.write_text(f"nameserver {WORLD}\n")
            wait_for(
                lambda: found(net.ask(net.web, "10.88.1.1", "two.example")) and upstream.queries,
                "the new server is asked",
            )
            await_end(paths)
    finally:
        local.close()
