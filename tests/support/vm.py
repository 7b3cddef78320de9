"""A guest under qemu: its disks, its console, and what its tests report while they run.

``python -m tests.support.vm`` boots one with a root shell on this terminal and the working tree at
/carry/tree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import vm_carry, vm_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MEMORY = "2G"
_APPEND = ("rw", "console=ttyS0", "quiet", "lsm=apparmor", "psi=1", "panic=1", "mitigations=off",
           "nokaslr", "no5lvl", "init_on_alloc=0")  # fmt: skip
# Nobody logs in, and all devices are there from the start.
_UNATTENDED = ("systemd.journald.forward_to_console=1",
               "systemd.mask=serial-getty@ttyS0.service", "systemd.mask=getty@tty1.service",
               "systemd.mask=systemd-udev-trigger.service")  # fmt: skip
_POLL_S = 0.2
_SILENCE_S = 900.0
"""No guest takes longer to boot, no test inside may take longer."""


class GuestFailed(Exception):
    """The guest did not boot, hung, or went down by itself; says how its console ended."""


def command_line(image: vm_image.Image, directory: Path, serial: Iterable[str]) -> list[str]:
    """The qemu that boots the image, with the second disk in ``directory``."""
    accelerator = os.environ.get("RUNENGINE_TEST_ACCEL", "tcg,tb-size=512")
    return [
        # A second processor makes the work of both half as much again: they wait for each other
        # at each change of a page table.
        *("qemu-system-x86_64", "-accel", accelerator, "-cpu", "max", "-smp", "1", "-m", MEMORY),
        *("-display", "none", "-monitor", "none", "-nodefaults", "-no-user-config"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        # What is written goes to a temporary file of qemu's own.
        *("-drive", f"file={image.disk},format=raw,if=virtio,cache=unsafe,snapshot=on"),
        *("-drive", f"file={directory}/carry.img,format=raw,if=virtio,cache=unsafe"),
        *serial,
    ]


class Machine:
    """One run of a guest; ends with the ``with`` block, whatever happened."""

    def __init__(self, directory: Path, image: vm_image.Image, timeout_s: float) -> None:
        """``directory`` has the second disk."""
        self.directory = directory
        self.console = directory / "console.txt"
        self._reports = directory / "reports.jsonl"
        self._image = image
        self._timeout_s = timeout_s
        self._deadline = 0.0
        self._heard = 0.0
        self._offset = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.messages: list[dict[str, Any]] = []

    def __enter__(self) -> Machine:
        serial = ["-serial", f"file:{self.console}", "-serial", f"file:{self._reports}"]
        serial += ["-append", " ".join((*_APPEND, *_UNATTENDED))]
        self._reports.touch()
        self._heard = time.monotonic()
        self._deadline = self._heard + self._timeout_s
        # It must not outlive us, however we end.
        qemu = command_line(self._image, self.directory, serial)
        command = ["setpriv", "--pdeathsig", "KILL", *qemu]
        with (self.directory / "qemu.txt").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process and process.poll() is None:
            process.kill()
        if process:
            process.wait()
        self.read_results()
        (self.directory / "carry.img").unlink()

    def wait(self, done: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Return once ``done`` says so of all messages so far; GuestFailed if it never will."""
        while True:
            running = self._process is not None and self._process.poll() is None
            self._read()
            if done(self.messages):
                return
            if not running:
                raise GuestFailed(self._story("the guest went down"))
            now = time.monotonic()
            if now > min(self._deadline, self._heard + _SILENCE_S):
                raise GuestFailed(self._story("the guest does not answer any more"))
            time.sleep(_POLL_S)

    def wait_for_end(self) -> None:
        """Wait until the guest has powered itself off."""
        self.wait(lambda _: self._process is not None and self._process.poll() is not None)

    def _read(self) -> None:
        with self._reports.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole + newline)
        for line in whole.splitlines():
            # The firmware writes a few bytes of its own to serial lines.
            _, brace, rest = line.partition(b"{")
            if brace:
                self.messages.append(json.loads(brace + rest))
                self._heard = time.monotonic()

    def tail(self, lines: int = 60) -> str:
        """How the console ended."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])

    def _story(self, what: str) -> str:
        output = (self.directory / "qemu.txt").read_text(errors="replace")
        return f"{what}; all of its console is in {self.console}\n{output}{self.tail()}"

    def read_results(self) -> Path:
        """Copy the guest's results (JUnit reports, journal) out of the second disk."""
        target = self.directory
        request = f"rdump /{vm_carry.RESULTS} {target}"
        command = ["debugfs", "-R", request, str(target / "carry.img")]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return target / vm_carry.RESULTS


def shell() -> int:
    """Boot with a shell on this terminal; ``poweroff`` inside ends it, as does C-a x."""
    with tempfile.TemporaryDirectory(prefix="runengine-vm-", dir="/var/tmp") as name:
        directory = Path(name)
        image = vm_image.ensure()
        with vm_carry.prepared(image, ()) as top:
            vm_carry.make_disk(directory / "carry.img", top, None)
        serial = ["-chardev", "stdio,id=tty,mux=on,signal=off", "-serial", "chardev:tty",
                  "-no-reboot", "-append", " ".join(_APPEND)]  # fmt: skip
        return subprocess.call(command_line(image, directory, serial))


if __name__ == "__main__":
    sys.exit(shell())
