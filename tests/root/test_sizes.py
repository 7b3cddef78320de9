"""Sizes of real containers: what a run, and nothing else, changes (rows S-01 to S-05)."""

import json
import re

import pytest

from runengine.mgr.container import sizes
from runengine.rootfs.usage import disk_usage

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]

MIB = 1 << 20
GROW = "head -c 1m /dev/urandom > /x$(ls / | wc -l)"


def written(engine, container):
    return engine.containers.inspect(container, size=True)["SizeRw"]


def test_a_run_is_seen_and_nothing_is_walked_in_between(runner, engine, monkeypatch):
    container = runner.start("sh", "-c", GROW)
    engine.containers.wait(container)
    engine.containers.cleanup(container)  # its root may be mounted for a moment yet
    first = written(engine, container)
    assert MIB <= first < 2 * MIB
    real, walks = disk_usage, []

    def counted(path):
        walks.append(path)
        return real(path)

    monkeypatch.setattr(sizes, "disk_usage", counted)
    assert written(engine, container) == first
    assert walks == []
    engine.containers.start(container)
    engine.containers.wait(container)
    assert 2 * MIB <= written(engine, container) < 3 * MIB
    assert len(walks) == 1


def test_a_running_container_is_looked_at_each_time(runner, engine):
    container = runner.start("sleep", "1000")
    before = written(engine, container)
    runner.exec(container, "sh", "-c", GROW)
    assert before + MIB <= written(engine, container)
    seen = engine.containers.inspect(container, size=True)
    (entry,) = engine.containers.list(size=True)
    assert (entry["SizeRw"], entry["SizeRootFs"]) == (seen["SizeRw"], seen["SizeRootFs"])
    assert seen["SizeRootFs"] > seen["SizeRw"]
    assert seen["Runengine"]["InodesRw"] >= 2


def test_every_layer_has_its_sizes(runner, engine):
    container = runner.create("true")
    image = engine.images.inspect("runengine/busybox")
    (layer,) = image["Runengine"]["Layers"]
    assert layer["Size"] > 100_000
    assert layer["Inodes"] > 10
    found = {one.key: one for one in engine.containers.list_snapshots()}
    assert found[layer["Key"]].kind == "committed"
    assert found[layer["Key"]].inodes == layer["Inodes"]
    assert found[container].kind == "active"


def test_the_commands(cli):
    cli.ok("run", "--name", "one", "busybox", "sh", "-c", GROW)
    shown = cli.ok("ps", "-a", "-s", "--format", "{{.Size}}")
    assert re.fullmatch(r"1\.0\dMB \(virtual [0-9.]+MB\)", shown)
    assert int(cli.ok("inspect", "-s", "-f", "{{.SizeRw}}", "one")) > MIB
    document = json.loads(cli.ok("image", "inspect", "busybox"))[0]
    assert document["Runengine"]["Layers"][0]["Size"] > 0
