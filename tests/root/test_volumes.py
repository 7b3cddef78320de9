"""Volumes in containers: their data, what is mounted for them, and what is left of them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from runengine.errors import Conflict, InvalidParameter, NotFound, Unavailable
from runengine.linux import pidfd
from runengine.linux.mount import is_mounted
from runengine.mgr.volume.request import volume_config
from runengine.monitor.protocol import AttachOptions
from runengine.store.journal import parse_block
from tests.support.engines import collect
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("overlay")]

FOREVER = ("sleep", "1000")


@pytest.fixture(autouse=True)
def _clean(engine):
    """Once they are removed, nothing is left of volumes."""
    yield
    for entry in engine.containers.list(all=True):
        engine.containers.remove(entry["Id"], force=True)
    engine.volumes.prune({"all": ["true"]})
    assert engine.volumes.list() == []
    for place in (engine.config.paths.root, engine.config.paths.state):
        assert list(Path(place).glob("volumes/*")) == []


def make(engine, name, **options):
    return engine.volumes.create({**volume_config(name), "DriverOpts": options})


def names(engine):
    return [entry["Name"] for entry in engine.volumes.list()]


def data(engine, name):
    return Path(engine.volumes.path(name))


def sh(runner, script, **host):
    """Run a shell script in a container that goes; its output."""
    code, out, err = runner.run("sh", "-c", script, AutoRemove=True, **host)
    assert code == 0, err
    return out.decode()


def test_named_ones_stay_and_anonymous_ones_go_with_their_container(engine, runner):
    sh(runner, "echo kept >/data/file; echo lost >/anon/file", Binds=["data:/data"],
       config={"Volumes": {"/anon": {}}})
    assert names(engine) == ["data"]
    assert sh(runner, "cat /data/file", Binds=["data:/data:ro"]) == "kept\n"
    assert sh(runner, "touch /data/x 2>&1 || true", Binds=["data:/data:ro"]).endswith(
        "Read-only file system\n"
    )
    box = runner.create("true", Binds=["data:/data"], config={"Volumes": {"/anon": {}}})
    with pytest.raises(Conflict, match="volume is in use by"):
        engine.volumes.remove("data")
    engine.containers.remove(box)
    assert len(names(engine)) == 2
    box = runner.create("true", config={"Volumes": {"/anon": {}}})
    engine.containers.remove(box, volumes=True)
    assert len(names(engine)) == 2


def test_shared_ones_outlive_their_first_container(engine, runner):  # P-12, E-44
    first = runner.start(*FOREVER, name="first", config={"Volumes": {"/anon": {}}})
    runner.exec(first, "sh", "-c", "echo shared >/anon/file")
    second = runner.start(*FOREVER, VolumesFrom=["first:ro"])
    engine.containers.remove(first, force=True, volumes=True)
    assert runner.exec(second, "cat", "/anon/file")[1] == b"shared\n"
    assert runner.exec(second, "touch", "/anon/x")[0] != 0
    engine.containers.remove(second, force=True, volumes=True)
    assert names(engine) == []


def test_an_empty_one_gets_what_the_image_has_and_runs(engine, runner):  # P-13
    assert "busybox" in sh(runner, "ls /bin", Binds=["data:/bin"])
    (data(engine, "data") / "own").write_text("")
    assert "own" in sh(runner, "ls /bin", Binds=["data:/bin"])
    assert sh(runner, "ls -a /none", Binds=["empty:/none:nocopy"]) == ".\n..\n"


def test_a_restart_keeps_everything_and_copies_nothing_again(engine, runner):
    box = runner.start(*FOREVER, Binds=["data:/home"], config={"Volumes": {"/anon": {}}})
    runner.exec(box, "sh", "-c", "echo 1 >/home/file; echo 1 >/anon/file")
    engine.containers.restart(box, timeout_s=0)
    assert runner.exec(box, "cat", "/home/file", "/anon/file")[1] == b"1\n1\n"
    engine.containers.stop(box, timeout_s=0)
    engine.containers.start(box)
    assert runner.exec(box, "cat", "/anon/file")[1] == b"1\n"


def subpath(name, path, **fields):
    options = {"Subpath": path}
    return {"Type": "volume", "Source": name, "Target": "/d", "VolumeOptions": options, **fields}


def test_parts_of_a_volume_and_no_way_out(engine, runner):
    make(engine, "data")
    inside = data(engine, "data")
    (inside / "dir/below").mkdir(parents=True)
    (inside / "dir/file").write_text("part")
    (inside / "up").symlink_to("../../../../../../../../../../etc")
    (inside / "absolute").symlink_to("/dir")
    assert sh(runner, "ls /d", Mounts=[subpath("data", "dir")]) == "below\nfile\n"
    assert sh(runner, "cat /d", Mounts=[subpath("data", "dir/file")]) == "part"
    assert sh(runner, "ls /d", Mounts=[subpath("data", "absolute")]) == "below\nfile\n"
    for path in ("up", "missing", "dir/file/x"):
        box = runner.create("true", Mounts=[subpath("data", path)])
        with pytest.raises(NotFound, match=f"subpath '{path}' is not in volume data"):
            engine.containers.start(box)


def test_a_part_stays_what_it_was_when_a_link_takes_its_place(engine, runner, monkeypatch):
    """The runtime mounts what the kernel resolved, not what the name leads to by then."""
    from runengine.mgr.volume import places

    make(engine, "data")
    inside = data(engine, "data")
    (inside / "dir").mkdir()
    (inside / "dir/file").write_text("true")
    real = places.open_place

    def swap(*args):
        fd = real(*args)
        (inside / "dir").rename(inside / "moved")
        (inside / "dir").symlink_to("/etc")
        return fd

    monkeypatch.setattr(places, "open_place", swap)
    assert sh(runner, "ls /d", Mounts=[subpath("data", "dir")]) == "file\n"


def test_directories_in_place_of_the_root(engine, runner):  # P-14
    sh(runner, "echo dr >/a/b/file", Binds=["data:/a/b:dr"])
    sh(runner, "echo rr >/a/b/file", Binds=["data:/a/b:rr"])
    inside = data(engine, "data")
    assert (inside / "a/b/file").read_text() == "dr\n"
    (random,) = set(os.listdir(inside)) - {"a"}
    assert (inside / random / "file").read_text() == "rr\n"


def test_what_is_mounted_for_the_first_goes_with_the_last(engine, runner):
    make(engine, "memory", type="tmpfs", o="size=1m,mode=700")
    target = engine.volumes.path("memory")
    first = runner.start(*FOREVER, Binds=["memory:/m"])
    second = runner.start(*FOREVER, Binds=["memory:/m:ro"])
    runner.exec(first, "sh", "-c", "echo both >/m/file")
    assert runner.exec(second, "cat", "/m/file")[1] == b"both\n"
    assert runner.exec(first, "dd", "if=/dev/zero", "of=/m/big", "bs=1M", "count=2")[0] != 0
    engine.containers.remove(first, force=True)
    assert is_mounted(target)
    engine.containers.stop(second, timeout_s=0)
    assert not is_mounted(target)
    engine.containers.start(second)
    assert runner.exec(second, "ls", "/m")[1] == b""


def test_what_died_by_violence_holds_nothing(engine, runner):
    make(engine, "memory", type="tmpfs")
    box = runner.start(*FOREVER, Binds=["memory:/m"])
    record = engine.containers.get(box)
    state_dir = engine.config.paths.container_state(box)
    status = Path(f"/proc/{record.state['Pid']}/status").read_text()
    monitor = int(status.partition("PPid:")[2].split()[0])
    os.kill(monitor, signal.SIGKILL)
    init = record.state["Pid"], record.state["StartTime"]
    os.kill(init[0], signal.SIGKILL)
    wait_for(lambda: not pidfd.is_alive(*init), "the init dies")
    engine.containers.reconcile()
    assert not is_mounted(engine.volumes.path("memory"))
    assert not os.path.exists(f"{state_dir}/volumes")


def test_a_bind_shows_the_hosts_data_and_never_deletes_it(engine, runner, tmp_path):
    (tmp_path / "file").write_text("host")
    make(engine, "bind", type="none", o="bind", device=str(tmp_path))
    assert sh(runner, "cat /d/file", Binds=["bind:/d"]) == "host"
    engine.volumes.remove("bind")
    assert (tmp_path / "file").read_text() == "host"
    make(engine, "gone", type="none", o="bind", device=f"{tmp_path}/gone")
    with pytest.raises(InvalidParameter, match="gone does not exist"):
        engine.containers.start(runner.create("true", Binds=["gone:/d"]))


@pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="no loop devices")
def test_an_image_file_is_a_volume_with_a_size(engine, runner, tmp_path):
    image = tmp_path / "disk.ext4"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    done = subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image)], check=False)
    if done.returncode:
        pytest.skip("no ext4 of one megabyte here")
    make(engine, "disk", type="ext4", device=str(image), o="loop")
    box = runner.create("true", Binds=["disk:/bin"])
    with pytest.raises(Unavailable, match=r"/bin of the image to volume disk: No space left"):
        engine.containers.start(box)
    engine.containers.remove(box)
    sh(runner, "echo kept >/d/file", Binds=["disk:/d:nocopy"])
    assert sh(runner, "cat /d/file", Binds=["disk:/d"]) == "kept\n"


def test_a_creation_that_fails_leaves_no_volume(engine, runner):
    bad = {
        "Type": "volume",
        "Source": "bad",
        "Target": "/bad",
        "VolumeOptions": {"DriverConfig": {"Name": "nobody"}},
    }
    with pytest.raises(NotFound, match="volume driver nobody not found"):
        runner.create("true", Binds=["good:/good"], Mounts=[bad])
    assert names(engine) == []
    assert engine.containers.list(all=True) == []


def test_a_run_that_cannot_start_leaves_no_volume(cli):
    done = cli.call("run", "--rm", "-v", "new:/data", "-v", "/anon", "busybox", "/no/such")
    assert done.code == 127
    assert cli.ok("volume", "ls", "-q") == ""


def test_a_directory_deleted_by_hand_is_no_empty_volume(engine, runner):
    make(engine, "data")
    shutil.rmtree(data(engine, "data"))
    box = runner.create("true", Binds=["data:/d"])
    with pytest.raises(NotFound, match=r"the directory of volume data is gone: .*mkdir -p"):
        engine.containers.start(box)
    data(engine, "data").mkdir()
    engine.containers.start(box)


def test_nothing_is_deleted_through_a_mount(engine, tmp_path):
    """Somebody has mounted something in a volume: its data is not the volume's."""
    (tmp_path / "file").write_text("host")
    make(engine, "data")
    inside = data(engine, "data") / "dir"
    inside.mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path), str(inside)], check=True)
    try:
        with pytest.raises(Unavailable, match="cannot remove volume data"):
            engine.volumes.remove("data")
    finally:
        subprocess.run(["umount", str(inside)], check=True)
    assert (tmp_path / "file").read_text() == "host"


def test_a_damaged_container_lets_go_of_its_volumes(engine, runner):
    make(engine, "memory", type="tmpfs")
    box = runner.start(*FOREVER, Binds=["memory:/m"], config={"Volumes": {"/anon": {}}})
    with engine.store.database.write() as connection:
        connection.execute("UPDATE containers SET details = '{' WHERE id = ?", (box,))
    engine.containers.remove(box, force=True, volumes=True)
    assert names(engine) == ["memory"]
    assert not is_mounted(engine.volumes.path("memory"))


def test_the_journal_tells_of_mounts(engine, runner):
    size = os.path.getsize(engine.config.paths.journal)
    sh(runner, "true", Binds=["data:/d:ro"])
    with open(engine.config.paths.journal, "rb") as file:
        file.seek(size)
        found = list(parse_block(file.read()))
    order = [one["Action"] for one in found if one["Action"] not in ("attach",)]
    assert order == ["create", "create", "mount", "start", "die", "unmount", "destroy"]
    mount = next(one for one in found if one["Action"] == "mount")
    attributes = mount["Actor"]["Attributes"]
    assert (attributes["destination"], attributes["read/write"]) == ("/d", "false")


def test_many_at_once_share_a_new_one(engine, runner):
    """All make it at the same time; one of them does."""
    boxes = [runner.create("sh", "-c", "ls /bin | wc -l", Binds=["data:/bin"]) for _ in range(4)]
    connections = [engine.containers.start(box, attach=AttachOptions()) for box in boxes]
    counts = set()
    for box, connection in zip(boxes, connections, strict=True):
        with connection:
            counts.add(collect(connection)[1][1])
        engine.containers.finish(box)
    assert len(counts) == 1
