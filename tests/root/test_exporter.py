"""The metrics server as a process, scraped while containers run."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.root

# Forks the server as the launcher does, says where it is, and lives until its input ends.
PARENT = """
import os, sys
from runengine.launcher import exporter
from runengine.paths import Paths
read, write = os.pipe()
if not os.fork():
    exporter.serve(Paths(*sys.argv[1:3]), sys.argv[3], write)
os.close(write)
sys.stdout.write(os.read(read, 4096).decode() or "failed\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@contextmanager
def exporter(cli, address="127.0.0.1:0"):
    """The server's address; it has ended with its parent afterwards."""
    arguments = [sys.executable, "-c", PARENT, str(cli.root), str(cli.state), address]
    with subprocess.Popen(
        arguments, env=cli.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        try:
            yield parent.stdout.readline().strip(), parent
        finally:
            parent.stdin.close()
            # The server holds the other end as well: this is its end too.
            assert parent.stdout.read() == ""
            parent.wait()


def ask(address, path="/metrics"):
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(address):
    status, text = ask(address)
    assert status == 200, text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_containers_are_told_of(cli):
    #
    with exporter(cli) as (address, _):
        assert scrape(address)['runengine_containers{state="running"}'] == 0
        cli.ok("run", "-d", "--name", "web", "--memory", "64m", "--pids-limit", "9",
               "busybox", "sleep", "1000")
        assert cli.call("run", "--name", "bad", "busybox", "sh", "-c", "exit 7").code == 7
        found = scrape(address)
        assert found['runengine_containers{state="running"}'] == 1
        assert found['runengine_containers{state="exited"}'] == 1
        assert found['runengine_container_exit_code{name="bad"}'] == 7
        assert found['runengine_container_memory_limit_bytes{name="web"}'] == 64 << 20
        assert found['runengine_container_pids_limit{name="web"}'] == 9
        assert found['runengine_container_pids{name="web"}'] == 1
        assert found['runengine_container_cpu_seconds_total{name="web"}'] > 0
        assert found['runengine_container_memory_peak_bytes{name="web"}'] > 0
        cli.ok("pause", "web")
        assert scrape(address)['runengine_containers{state="paused"}'] == 1
        cli.ok("rm", "-f", "web", "bad")
        assert 'runengine_container_pids{name="web"}' not in scrape(address)


def test_actions_are_counted_whoever_does_them(cli):
    cli.ok("run", "--rm", "busybox", "true")
    with exporter(cli) as (address, _):
        scrape(address)
        cli.ok("run", "--rm", "busybox", "true")
        assert cli.call("run", "--rm", "busybox", "sh", "-c", "exit 3").code == 3
        found = scrape(address)
        starts = '{action="start",type="container"}'
        assert found["runengine_actions_total" + starts] == 2
        assert found["runengine_action_duration_seconds_count" + starts] == 2
        assert found["runengine_action_duration_seconds_sum" + starts] > 0
        assert found['runengine_container_exits_total{code="0"}'] == 1
        assert found['runengine_container_exits_total{code="3"}'] == 1


def test_a_unix_socket_is_for_root_alone(cli, tmp_path):
    path = tmp_path / "metrics.sock"
    with exporter(cli, f"unix:{path}") as (address, _):
        assert address == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"/metrics" in b"".join(iter(lambda: sock.recv(4096), b""))
    # It was left behind, as a killed server's would be: the next one takes it over.
    with exporter(cli, f"unix:{path}") as (address, _):
        assert address == f"unix:{path}"


def test_it_ends_when_its_parent_is_killed(cli):
    with exporter(cli) as (address, parent):
        assert ask(address, "/")[0] == 200
        parent.send_signal(signal.SIGKILL)


def test_an_address_in_use_is_an_error(cli):
    with exporter(cli) as (address, _), exporter(cli, address) as (second, _):
        assert second == "failed"
        assert ask(address, "/")[0] == 200


def poll_timeout(pid):
    """The time-out of the poll(2) that the process sleeps in; None while it does something."""
    with open(f"/proc/{pid}/syscall") as file:
        number, *arguments = file.read().split()
    return int(arguments[2], 16) & 0xFFFFFFFF if number == "7" else None  # of x86-64


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls differ")
def test_an_idle_server_sleeps_without_a_timer(cli):
    with exporter(cli) as (address, parent):
        scrape(address)
        with open(f"/proc/{parent.pid}/task/{parent.pid}/children") as file:
            (child,) = file.read().split()
        deadline = time.monotonic() + 5  # it has yet to see that we have gone
        while poll_timeout(child) != 0xFFFFFFFF:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert len(os.listdir(f"/proc/{child}/task")) == 1
