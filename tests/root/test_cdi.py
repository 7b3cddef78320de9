"""Devices by name on the real runtime, with a vendor that is made up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support import needs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import CommandLine, Done

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

# Written by hand, so that it is YAML as vendors' tools write it and no JSON in disguise.
SPECIFICATION = """\
---
cdiVersion: "0.6.0"
kind: acme.com/widget
containerEdits:
  env:
    - ACME_DRIVER=9
  hooks:
    - hookName: createRuntime
      path: /bin/sh
      args: [sh, -c, "cat > {out}/created"]
    - hookName: poststop
      path: /bin/sh
      args: [sh, -c, "echo gone > {out}/stopped"]
devices:
  - name: "0"
    containerEdits:
      env: ["ACME_DEVICE=0"]
      deviceNodes:
        - {{path: /dev/acme/w0, hostPath: /dev/full, permissions: r, fileMode: 0640, gid: 7}}
      mounts:
        - hostPath: {out}/library
          containerPath: /usr/lib/acme.so
          options: [ro, nosuid, nodev, rbind, rprivate]
      additionalGids: [4242]
"""
LOOKS = "echo $ACME_DRIVER $ACME_DEVICE; stat -c '%F %a %u:%g %t,%T' /dev/acme/w0;" \
        " cat /usr/lib/acme.so; (: > /usr/lib/acme.so) 2>/dev/null || echo ro; id -G"  # fmt: skip


class Vendor(NamedTuple):
    """A command line that reads a vendor's specifications, and where the hooks write."""

    cli: CommandLine
    config: Path
    specifications: Path
    out: Path

    def call(self, *words: str) -> Done:
        environment = {**self.cli.environment, "RUNENGINE_CONFIG": str(self.config)}
        return self.cli.call(*words, env=environment)

    def ok(self, *words: str) -> str:
        done = self.call(*words)
        assert (done.code, done.err) == (0, ""), done
        return done.out


@pytest.fixture
def vendor(cli: CommandLine, tmp_path: Path) -> Vendor:
    """The vendor acme, with one widget."""
    specifications, out = tmp_path / "cdi", tmp_path / "out"
    specifications.mkdir()
    out.mkdir()
    (out / "library").write_text("code\n")
    (specifications / "acme.yaml").write_text(SPECIFICATION.format(out=out))
    config = tmp_path / "config.json"
    directories = [str(specifications), str(tmp_path / "none")]
    config.write_text(json.dumps({"default_network": "none", "cdi_spec_dirs": directories}))
    return Vendor(cli, config, specifications, out)


def test_a_widget(vendor: Vendor):
    shown = vendor.ok("run", "--rm", "--device", "acme.com/widget=0", "busybox", "sh", "-c", LOOKS)
    assert shown.splitlines() == [
        "9 0",
        "character special file 640 0:7 1,7",
        "code",
        "ro",
        "0 10 4242",
    ]
    # The hooks ran, the first of them with the state on its standard input.
    assert json.loads((vendor.out / "created").read_text())["status"] == "creating"
    assert (vendor.out / "stopped").read_text() == "gone\n"


def test_another_user_owns_what_has_no_owner(vendor: Vendor):
    text = SPECIFICATION.format(out=vendor.out).replace(", gid: 7", "")
    (vendor.specifications / "acme.yaml").write_text(text)
    flags = ("--user", "5:6", "--device", "acme.com/widget=all")
    script = "stat -c %u:%g /dev/acme/w0; head -c1 /dev/acme/w0 | wc -c"
    assert vendor.ok("run", "--rm", *flags, "busybox", "sh", "-c", script).split() == ["5:6", "1"]


def test_an_exec_has_the_variables(vendor: Vendor):
    vendor.ok("run", "-d", "--name", "one", "--device", "acme.com/widget=0", "busybox", "sleep",
              "60")  # fmt: skip
    assert vendor.ok("exec", "one", "sh", "-c", "echo $ACME_DEVICE").strip() == "0"
    vendor.ok("rm", "-f", "one")
    assert (vendor.out / "stopped").exists()


def test_the_record_keeps_names_and_each_start_looks_them_up(vendor: Vendor):
    name = "acme.com/widget=0"
    vendor.ok("create", "--name", "one", "--device", name, "busybox", "sh", "-c", "echo $NEW")
    (document,) = json.loads(vendor.ok("inspect", "one"))
    assert document["HostConfig"]["Devices"] == []
    assert document["HostConfig"]["DeviceRequests"] == [
        {"Driver": "cdi", "Count": 0, "DeviceIDs": [name], "Capabilities": None, "Options": None}
    ]
    assert "ACME" not in json.dumps(document["Config"])
    file = vendor.specifications / "acme.yaml"
    file.rename(vendor.out / "away")
    done = vendor.call("start", "-a", "one")
    assert done.code == 125
    assert f"unresolvable CDI devices {name}" in done.err
    edits = {"env": ["NEW=yes"]}
    made = {"cdiVersion": "1.0.0", "kind": "acme.com/widget",
            "devices": [{"name": "0", "containerEdits": edits}]}  # fmt: skip
    file.with_suffix(".json").write_text(json.dumps(made))
    assert vendor.ok("start", "-a", "one") == "yes\n"


def test_gpus_by_cdi(vendor: Vendor):
    text = SPECIFICATION.format(out=vendor.out).replace("acme.com/widget", "nvidia.com/gpu")
    (vendor.specifications / "acme.yaml").write_text(text)
    script = "echo $ACME_DEVICE"
    for wanted in ("all", "1", "device=0"):
        shown = vendor.ok("run", "--rm", "--gpus", wanted, "busybox", "sh", "-c", script)
        assert shown == "0\n"


def test_no_gpus(vendor: Vendor):
    done = vendor.call("run", "--gpus", "all", "--name", "none", "busybox", "true")
    assert done.code == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.err
    assert "nvidia-ctk cdi generate" in done.err
    assert len(done.err.splitlines()) == 1
    assert vendor.cli.state_of("none") == "created"


def test_a_failing_hook_is_named(vendor: Vendor):
    file = vendor.specifications / "acme.yaml"
    file.write_text(file.read_text().replace(f"cat > {vendor.out}/created", "exit 3"))
    done = vendor.call("run", "--rm", "--device", "acme.com/widget=0", "busybox", "true")
    assert done.code == 125
    assert "hook" in done.err
