"""A namespace that is named to runc by a descriptor of ours, and held by the container alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from runengine.linux import pidfd
from runengine.netns import counters, namespace
from tests.support import nethosts, trees
from tests.support.capabilities import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "ip", "busybox")]


class Container:
    """Sleeps, under runc, in the namespace of a guest; the guest's descriptor is closed."""

    def __init__(self, base: Path, guest: nethosts.Guest) -> None:
        self.name = f"netns-{os.getpid()}-{os.urandom(4).hex()}"
        self._bundle = base
        self._root = str(base / "runc")
        for folder in ("bin", "proc", "dev", "sys"):
            (base / "rootfs" / folder).mkdir(parents=True)
        shutil.copy(trees.BUSYBOX, base / "rootfs/bin/busybox")
        self._write_spec(f"/proc/{os.getpid()}/fd/{guest.fd}")
        self.runc("run", "--detach", "--pid-file", str(base / "pid"), self.name)
        os.close(guest.fd)
        self.pid = int((base / "pid").read_text())

    def _write_spec(self, path: str) -> None:
        self.runc("spec")
        document = self._bundle / "config.json"
        spec: dict[str, Any] = json.loads(document.read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "sleep", "60"]}
        spec["linux"]["cgroupsPath"] = f"/{self.name}"
        for entry in spec["linux"]["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = path
        document.write_text(json.dumps(spec))

    def runc(self, *args: str) -> str:
        output = self._bundle / "output"
        with output.open("w") as file:
            done = subprocess.run(
                ["runc", "--root", self._root, *args],
                cwd=self._bundle,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert done.returncode == 0, output.read_text()
        return output.read_text()

    def kill(self) -> None:
        fd = os.pidfd_open(self.pid)
        pidfd.send(fd, signal.SIGKILL)
        pidfd.wait(fd)
        os.close(fd)

    def delete(self) -> None:
        self.runc("delete", "--force", self.name)


@pytest.fixture
def host() -> Iterator[nethosts.Host]:
    with nethosts.bridged_host() as opened:
        yield opened


def test_container_and_exec_are_in_it_and_it_ends_with_them(host, tmp_path):
    guest = host.guest(2)
    container = Container(tmp_path, guest)
    try:
        for address in ("10.9.0.2/24", "fd00:9::2/64"):
            shown = container.runc("exec", container.name, "/bin/busybox", "ip", "addr")
            assert address in shown
        netns_fd = namespace.of_process(container.pid)
        live = nethosts.Guest(netns_fd, guest.endpoint)
        for address in nethosts.GATEWAYS:
            with nethosts.listener(address, 80):
                live.connect(address)
        os.close(netns_fd)
        found = counters.read(container.pid)
        assert set(found) == {"eth0"}
        assert found["eth0"].tx_packets > 0
        assert found["eth0"].rx_bytes > 0
        container.kill()
        nethosts.wait_until_gone(guest.endpoint.host_name)
    finally:
        container.delete()
