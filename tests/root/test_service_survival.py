"""What outlives the service, who may hold a root, and a service without room."""

from __future__ import annotations

import signal
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest

from runengine.linux.mount import unmount
from tests.support import needs
from tests.support.service import Service
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox"), pytest.mark.timeout(300)]

COUNT = 6
LINES = "i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); sleep 0.1; done; echo $i; exit {0}"
"""The last line is how many there were before it."""


@pytest.fixture
def service(tmp_path, busybox_tar):
    service = Service(tmp_path)
    service.ok("import", str(busybox_tar), "busybox")
    yield service
    service.close()


def run_detached(service, name, *command, options=()):
    service.ok("run", "-d", "--network", "none", "--name", name, *options, "busybox", *command)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_containers_lose_nothing_with_the_service(service, end):
    names = [f"c{number}" for number in range(COUNT)]
    for number, name in enumerate(names):
        run_detached(service, name, "sh", "-c", LINES.format(number))
    getattr(service, end)()
    half = names[: COUNT // 2]
    for name in half:
        service.cold("exec", name, "touch", "/stop")
    # Their ends are nobody's but their monitors'.
    wait_for(lambda: len(service.cold("ps", "-q").split()) == COUNT - len(half))
    service.begin_again()
    for name in names[COUNT // 2 :]:
        service.ok("exec", name, "touch", "/stop")
    for number, name in enumerate(names):
        assert service.ok("wait", name) == str(number)
        *lines, count = map(int, service.ok("logs", name).split())
        assert lines == [*range(count)]


def test_attach_after_a_kill_of_the_service(service):
    run_detached(service, "one", "sh", "-c", "read a; echo got $a; exit 4", options=("-i",))
    service.kill()
    service.begin_again()
    done = service.call("attach", "one", stdin=b"this\n")
    assert done == (4, "got this\n", "")


def test_a_call_goes_on_without_its_launcher(service):
    script = ("sh", "-c", "read a; echo got $a; exit 5")
    command = service.command("run", "--rm", "-i", "--network", "none", "busybox", *script)
    with subprocess.Popen(
        command, env=service.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as call:
        wait_for(lambda: service.cold("ps", "-q", "--filter", "status=running"))
        service.kill()
        assert call.communicate(b"this\n", timeout=60)[0] == b"got this\n"
        assert call.returncode == 5
    assert service.cold("ps", "-aq") == ""


def test_a_service_finds_containers_that_were_started_before_it(service):
    service.stop()
    service.cold("run", "-d", "--name", "one", "--restart", "always", "busybox", "sleep", "600")
    service.begin_again()
    service.kill_monitor("one")
    service.kill_init("one")
    wait_for(lambda: service.ok("inspect", "-f", "{{.RestartCount}}", "one") == "1")
    wait_for(lambda: service.state_of("one") == "running")


def test_a_second_service_is_told_who_holds_the_directories(service, tmp_path):
    environment = {**service.environment, "RUNENGINE_LAUNCHER": "off"}
    for root, state in (
        (service.root, service.state),
        (service.root, tmp_path / "another-state"),
        (tmp_path / "another-root", service.state),
    ):
        where = ("--root", str(root), "--state", str(state))
        done = service.call(*where, "serve", env=environment)
        assert done.code == 1
        assert f"is running already: pid {service.pid} (" in done.err
    assert service.ok("ps", "-q") == ""


def test_a_service_that_was_begun_in_the_background_quits_on_sigquit(service):
    service.stop()
    script = 'trap "" QUIT INT; exec "$@"'
    where = ["--root", str(service.root), "--state", str(service.state)]
    service.service = subprocess.Popen(
        ["sh", "-c", script, "sh", *service.command(*where, "serve")], env=service.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    service.await_service(service.service)
    run_detached(service, "one", "sleep", "600")
    waiting = service.begin("wait", "one")
    wait_for(lambda: len(service.calls()) == 1)
    waiting.send_signal(signal.SIGQUIT)
    assert waiting.wait(60) == -signal.SIGQUIT


@pytest.fixture
def small_state(service):
    """The service on a state directory of two megabytes, as a full /run is."""
    service.stop()
    options = "size=2m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "test", service.state], check=True)
    service.begin_again()
    yield service
    service.close()
    unmount(str(service.state))


@contextmanager
def full(directory):
    """No byte is free there; what the service's rehearsals give back is taken as well."""
    path, ended = directory / "filler", threading.Event()
    with path.open("wb", buffering=0) as file:
        fill(file)

        def go_on():
            while not ended.wait(0.01):
                fill(file)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
    path.unlink()


def fill(file):
    for size in (4096, 1):
        with suppress(OSError):
            while file.write(b"x" * size):
                pass


def test_a_full_run_directory(small_state):
    service = small_state
    run_detached(service, "one", "sleep", "600")
    with full(service.state):
        assert service.ok("ps", "--format", "{{.Names}}") == "one"
        done = service.call("run", "--rm", "--network", "none", "--name", "two", "busybox", "true")
        assert (done.code, done.out) == (125, "")
        assert done.err.startswith("runengine: cannot start container two: ")
        assert "No space left on device" in done.err
        assert f"see whether {service.state}" in done.err
        assert service.names() == ["one"]
        service.ok("stop", "--time", "0", "one")
        service.stop()
        service.begin_again()
        assert service.ok("inspect", "-f", "{{.State.ExitCode}}", "one") == "137"
    assert service.ok("run", "--rm", "--network", "none", "busybox", "echo", "room") == "room"
