"""Logs in systemd's journal, with a journal of the test's own; and one that is stuck."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.capabilities import needs
from tests.support.hosts import Host, HostCommandLine
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, needs("runc", "busybox", "journald")]

LINES = 20_000
MANY = f"i=0; while [ $i -lt {LINES} ]; do echo $i {'x' * 200}; i=$((i+1)); done"
_PLACES = """
for place in /run/systemd /run/log; do mkdir -p $place; mount -t tmpfs none $place; done
mkdir -p /run/systemd/journal /run/log/journal /run/systemd/journald.conf.d
printf '[Journal]\\nRateLimitIntervalSec=0\\n' >/run/systemd/journald.conf.d/test.conf
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory, busybox_tar) -> Iterator[HostCommandLine]:
    with Host(tmp_path_factory.mktemp("host")) as host:
        host.ok("sh", "-ec", _PLACES)
        cli = HostCommandLine(tmp_path_factory.mktemp("engine"), host)
        cli.config.write_text('{"default_network": "none"}')
        cli.ok("import", str(busybox_tar), "busybox")
        yield cli
        cli.close()


@pytest.fixture(scope="module")
def journal(shared) -> Iterator[subprocess.Popen[bytes]]:
    with shared.host.begin("/lib/systemd/systemd-journald") as process:
        wait_for(lambda: shared.host.call("test", "-S", "/run/systemd/journal/socket").code == 0)
        yield process
        process.terminate()


@pytest.fixture
def cli(shared, journal) -> Iterator[HostCommandLine]:
    yield shared
    shared.clear()


def test_lines_come_back_from_the_journal(cli):
    script = r"echo out; echo err >&2; printf '\303\251\n'; head -c 40000 /dev/zero | tr '\0' x"
    options = ("--log-driver", "journald", "--label", "tier=db", "--log-opt", "labels=tier")
    done = cli.call("run", "--name", "web", *options, "busybox", "sh", "-c", f"{script}; echo")
    assert done.code == 0
    done = cli.call("logs", "web")
    assert (len(done.out), done.err) == (len("out\né\n") + 40001, "err\n")
    last = cli.call("logs", "--tail", "1", "web")
    assert len((last.out + last.err).splitlines()) == 1
    assert cli.call("logs", "--since", "1h", "--details", "web").out.startswith("tier=db out\n")
    fields = cli.host.ok("journalctl", "-q", "-o", "export", "CONTAINER_NAME=web", "PRIORITY=3")
    assert "TIER=db" in fields
    assert f"CONTAINER_ID_FULL={cli.ok('inspect', '-f', '{{.Id}}', 'web')}" in fields


def test_a_follower_ends_with_the_container(cli):
    script = "for i in 1 2 3; do echo $i; sleep 0.2; done"
    cli.ok("run", "-d", "--name", "web", "--log-driver", "journald", "busybox", "sh", "-c", script)
    assert cli.ok("logs", "-f", "web") == "1\n2\n3"


def test_a_stuck_journal_holds_the_container_and_nobody_else(cli, journal):
    journal.send_signal(signal.SIGSTOP)
    try:
        cli.ok("run", "-d", "--name", "web", "--log-driver", "journald", "busybox",
               "sh", "-c", f"{MANY}; touch /done; exec sleep 1000")  # fmt: skip
        assert cli.ok("exec", "web", "echo", "works") == "works"
        assert cli.call("exec", "web", "test", "-e", "/done").code == 1
    finally:
        journal.send_signal(signal.SIGCONT)
    wait_for(lambda: cli.call("exec", "web", "test", "-e", "/done").code == 0)
    wait_for(lambda: cli.ok("logs", "--tail", "1", "web").startswith(f"{LINES - 1} "))
    assert len(cli.ok("logs", "web").splitlines()) == LINES


def test_a_container_that_does_not_wait_loses_lines_and_says_so(cli, journal):
    journal.send_signal(signal.SIGSTOP)
    try:
        cli.ok("run", "-d", "--name", "web", "--log-driver", "journald", "--log-opt",
               "mode=non-blocking", "--log-opt", "max-buffer-size=64k", "busybox", "sh", "-c",
               f"{MANY}; touch /done; exec sleep 1000")  # fmt: skip
        wait_for(lambda: cli.call("exec", "web", "test", "-e", "/done").code == 0)
    finally:
        journal.send_signal(signal.SIGCONT)
    wait_for(lambda: "the log is slower than the output" in cli.call("logs", "web").err)
    assert len(cli.call("logs", "web").out.splitlines()) < LINES
