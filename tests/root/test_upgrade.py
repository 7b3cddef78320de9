"""A container on another image: what stays and goes, what a failure leaves (E-59 to E-66)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runengine import Engine
from runengine.errors import Conflict, EngineError, NotFound
from runengine.mgr.container import swap
from runengine.mgr.image.commit import Wishes
from tests.support import needs
from tests.support.crashes import survives
from tests.support.engines import Runner
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


@pytest.fixture(scope="module")
def versions(shared_roots):
    """Two images, each with a file that says which it is."""
    with Engine.open(shared_roots) as engine:
        containers = engine.containers
        runner = Runner(engine)
        for name in ("one", "two"):
            made = runner.create("sh", "-c", f"mkdir /seeds; echo {name} | tee /version /seeds/x")
            containers.start(made)
            containers.wait(made)
            changes = [f"ENV VERSION={name}", 'CMD ["sh", "-c", "cat /version; exec sleep 99"]']
            changes += ["VOLUME /seeds"] if name == "two" else []
            containers.commit(made, Wishes(f"{name}:1", changes=changes))
            containers.remove(made)
    yield
    with Engine.open(shared_roots) as engine:
        for name in ("one", "two"):
            engine.images.remove(f"{name}:1")


@pytest.fixture
def box(runner, versions):
    """Makes a container on the first image."""

    def make(**host):
        config = {"Image": "one:1", "StopSignal": "KILL", "Env": ["MINE=1"]}
        return runner.create(name="box", config=config, **host)

    return make


def upper(engine, container):
    return Path(engine.containers._context.data_dir(container), "upper")


def test_what_runs_goes_on_with_all_it_had(engine, runner, box):
    container = box(Binds=["kept:/kept"], Memory=64 << 20, Hostname="")
    engine.containers.start(container)
    runner.exec(container, "sh", "-c", "echo data >/kept/x; echo lost >/lost")
    before = engine.containers.inspect(container)
    engine.containers.upgrade("box", "two:1")
    after = engine.containers.inspect(container)
    for key in ("Id", "Name", "Created", "HostConfig"):
        assert after[key] == before[key]
    assert after["Image"] == engine.images.lookup("two:1").image_id
    assert after["Config"]["Image"] == "two:1"
    assert after["State"]["Pid"] not in (0, before["State"]["Pid"])
    script = "cat /version /kept/x /seeds/x; echo $VERSION $MINE; ls /lost 2>/dev/null"
    _, out, _ = runner.exec(container, "sh", "-c", script)
    assert out.decode().split() == ["two", "data", "two", "two", "1"]
    assert [one["Destination"] for one in after["Mounts"]] == ["/kept", "/seeds"]
    assert not Path(upper(engine, container).parent, "swap").exists()
    log = upper(engine, container).parent / "container.log"
    wait_for(lambda: b"two" in log.read_bytes())
    engine.containers.remove(container, force=True, volumes=True)
    assert [volume["Name"] for volume in engine.volumes.list()] == ["kept"]


def test_what_is_stopped_stays_stopped(engine, runner, box):
    container = box()
    engine.containers.start(container)
    engine.containers.stop(container)
    engine.containers.upgrade("box", "two:1", cmd=["echo", "mine"])
    state = engine.containers.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    engine.containers.start(container)
    assert engine.containers.wait(container).exit_code == 0
    assert engine.containers.inspect(container)["Config"]["Cmd"] == ["echo", "mine"]


def test_what_does_not_start_is_put_back(engine, runner, box):
    container = box()
    engine.containers.start(container)
    runner.exec(container, "sh", "-c", "echo kept >/mine")
    before = engine.containers.inspect(container)
    with pytest.raises(EngineError, match=r"does not start on two:1: .*nosuch") as caught:
        engine.containers.upgrade("box", "two:1", entrypoint=["/nosuch"])
    assert "one:1 again" in str(caught.value.resolution)
    after = engine.containers.inspect(container)
    assert after["State"]["Running"]
    for key in ("Image", "Config", "Mounts"):
        assert after[key] == before[key]
    _, out, _ = runner.exec(container, "cat", "/version", "/mine")
    assert out.split() == [b"one", b"kept"]
    assert list(upper(engine, container).parent.glob("swap")) == []
    assert engine.volumes.list() == []


def test_what_is_refused_is_refused_while_it_runs(engine, runner, box):
    container = box()
    engine.containers.start(container)
    pid = engine.containers.inspect(container)["State"]["Pid"]
    with pytest.raises(Conflict, match="image not changed"):
        engine.containers.upgrade("box", engine.images.lookup("one:1").image_id)
    with pytest.raises(NotFound, match="nosuch"):
        engine.containers.upgrade("box", "nosuch")
    with pytest.raises(NotFound, match="No such container"):
        engine.containers.upgrade("nobody", "two:1")
    engine.containers.mount("box")
    with pytest.raises(Conflict, match="is mounted"):
        engine.containers.upgrade("box", "two:1")
    engine.containers.unmount("box")
    assert engine.containers.inspect(container)["State"]["Pid"] == pid


def test_killed_anywhere_it_is_on_one_image_or_the_other(engine, runner, box, monkeypatch):
    """And with the layer that goes with it, as whoever comes next sees to."""
    images = {engine.images.lookup(name).image_id: name for name in ("one:1", "two:1")}
    seen = set()
    for died in range(100):
        container = box()
        upper(engine, container).joinpath("mine").touch()
        whole = survives(
            monkeypatch, died, lambda: engine.containers.upgrade("box", "two:1")
        )
        engine.containers.rename("box", "other")  # takes the lock
        record = engine.containers.get(container)
        on = images[record.image_id]
        assert swap.NOTE not in record.details
        assert os.listdir(upper(engine, container)) == (["mine"] if on == "one:1" else [])
        if on == "one:1":
            engine.containers.upgrade("other", "two:1")
            assert os.listdir(upper(engine, container)) == []
        assert not upper(engine, container).parent.joinpath("swap").exists()
        engine.containers.start(container)
        _, out, _ = runner.exec(container, "cat", "/version")
        assert out == b"two\n"
        engine.containers.remove(container, force=True, volumes=True)
        seen.add((on, whole))
        if whole:
            break
    assert {("one:1", False), ("two:1", False), ("two:1", True)} <= seen
