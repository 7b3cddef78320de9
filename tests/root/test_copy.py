"""``cp`` in every state of a container, through its mounts, and against those who trick it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

from runengine.errors import Conflict, EngineError, InvalidParameter, NotFound
from runengine.mgr.container.copying import Place
from tests.support import tars

pytestmark = pytest.mark.root
SLEEP = ("sleep", "1000")


@pytest.fixture
def files(tmp_path):
    """Some files on the host."""
    directory = tmp_path / "files"
    (directory / "sub").mkdir(parents=True)
    (directory / "file").write_text("data")
    (directory / "sub/link").symlink_to("../file")
    os.chown(directory / "file", 1234, 5678)
    (directory / "file").chmod(0o4750)
    return directory


def put(engine, source, container, path, **options):
    return engine.containers.copy(Place(str(source)), Place(path, container), **options)


def get(engine, container, path, target, **options):
    return engine.containers.copy(Place(path, container), Place(str(target)), **options)


def in_state(runner, state, **host):
    """A container that runs, is paused, has stopped, or never ran."""
    if state == "created":
        return runner.create(*SLEEP, **host)
    container = runner.start(*SLEEP, **host)
    if state == "paused":
        runner.engine.containers.pause(container)
    elif state == "exited":
        runner.engine.containers.stop(container, timeout_s=0)
    return container


@pytest.mark.parametrize("state", ["running", "paused", "exited", "created"])
def test_files_go_in_and_come_out_in_every_state(engine, runner, files, tmp_path, state):
    (tmp_path / "bound").mkdir()
    binds = [f"{tmp_path}/bound:/bound", f"{tmp_path}/bound:/fixed:ro", "state-data:/volume"]
    container = in_state(runner, state, Binds=binds)
    for place in ("/copied", "/bound/copied", "/volume/copied"):
        put(engine, files, container, place)
        out = tmp_path / "out"
        get(engine, container, place, out, keep_owner=True)
        seen = (out / "file").stat()
        assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (1234, 5678, 0o4750)
        assert os.readlink(out / "sub/link") == "../file"
        subprocess.run(["rm", "-r", out], check=True)
    assert (tmp_path / "bound/copied/file").read_text() == "data"
    with pytest.raises(Conflict, match="mounted volume is marked read-only"):
        put(engine, files / "file", container, "/fixed/file")
    get(engine, container, "/copied/file", tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_uid == 0
    if state == "paused":
        engine.containers.unpause(container)
    engine.containers.remove(container, force=True)
    engine.volumes.remove("state-data")


def test_a_read_only_root_is_refused_running_or_not(engine, runner, files):
    container = runner.start(*SLEEP, ReadonlyRootfs=True, Tmpfs={"/tmp": ""})
    put(engine, files, container, "/tmp/in-memory")
    assert runner.exec(container, "cat", "/tmp/in-memory/file")[1] == b"data"
    with pytest.raises(Conflict, match="rootfs is marked read-only"):
        put(engine, files / "file", container, "/root/file")
    engine.containers.stop(container, timeout_s=0)
    with pytest.raises(Conflict, match="rootfs is marked read-only"):
        put(engine, files / "file", container, "/root/file")
    with pytest.raises(Conflict, match="only while the container runs"):
        put(engine, files / "file", container, "/tmp/file")


def test_between_containers(engine, runner, files):
    source, target = runner.start(*SLEEP), runner.create(*SLEEP)
    put(engine, files, source, "/tree")
    engine.containers.copy(Place("/tree", source), Place("/tree", target))
    engine.containers.start(target)
    assert runner.exec(target, "stat", "-c", "%u:%a", "/tree/file")[1] == b"1234:4750\n"
    with pytest.raises(InvalidParameter, match="into itself"):
        engine.containers.copy(Place("/tree", target), Place("/tree/sub", target))


def test_the_container_s_user_gets_what_is_archived_in(engine, runner, files):
    container = runner.create(*SLEEP, config={"User": "123:456"})
    put(engine, files, container, "/tree", keep_owner=True)
    what = engine.containers.stat_path(container, "/tree/file")
    assert what.size == 4
    with engine.containers.archive_path(container, "/tree") as archive:
        members = {one.name: one for one in archive_of(archive)}
    assert {(one.uid, one.gid) for one in members.values()} == {(123, 456)}
    for path, first in (("/tree/.", "."), ("/", "."), ("tree/sub/", "sub")):
        with engine.containers.archive_path(container, path) as archive:
            assert archive_of(archive)[0].name == first


def archive_of(archive):
    read, write = os.pipe()

    def send() -> None:
        archive.write(write)
        os.close(write)

    with os.fdopen(read, "rb") as stream:
        thread = threading.Thread(target=send)
        thread.start()
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            found = list(tar)
        stream.read()
        thread.join()
    return found


def test_what_docker_s_header_says(engine, runner):
    container = runner.create(*SLEEP)
    extract(engine, container, "/", tars.symlink("link", "../../etc/./passwd"))
    what = engine.containers.stat_path(container, "link")
    assert (what.name, what.link_target) == ("link", "/etc/passwd")
    assert what.mode & 1 << 27
    assert engine.containers.stat_path(container, "/").is_dir
    assert engine.containers.stat_path(container, "/etc/").name == "etc"
    with pytest.raises(NotFound, match="Could not find the file /none in container"):
        engine.containers.stat_path(container, "/none")
    with pytest.raises(InvalidParameter, match="cannot be empty"):
        engine.containers.stat_path(container, "")


def extract(engine, container, path, *members, **options):
    stream = io.BytesIO(tars.archive(*members))
    return engine.containers.extract_to_dir(container, path, stream, **options)


def test_extraction_wants_a_directory(engine, runner):
    container = runner.create(*SLEEP)
    with pytest.raises(InvalidParameter, match="extraction point is not a directory"):
        extract(engine, container, "/etc/passwd", tars.member("x"))
    with pytest.raises(NotFound, match="Could not find"):
        extract(engine, container, "/nowhere", tars.member("x"))


# Escapes: the host's file is what a name leads to where nobody contains it (the twin).


@pytest.mark.parametrize("state", ["running", "exited"])
def test_links_in_a_container_do_not_lead_out(engine, runner, tmp_path, files, state):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("the host's")
    container = in_state(runner, state)
    extract(
        engine, container, "/", tars.symlink("out", str(secret)), tars.symlink("up", "../../..")
    )
    root = Path(engine.config.paths.container(container)) / "upper"
    assert (root / "out/file").read_text() == "the host's"  # the twin
    for path in ("/out/file", f"/up{secret}/file", "/out/../out/file"):
        with pytest.raises(NotFound):
            get(engine, container, path, tmp_path / "got")
        with pytest.raises(EngineError):
            put(engine, files / "file", container, path)
    assert (secret / "file").read_text() == "the host's"
    assert not (tmp_path / "got").exists()


def test_a_container_that_swaps_links_all_the_time(engine, runner, tmp_path, files):
    """For half a second: what comes out is the container's, what goes in stays there."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "inner").mkdir()
    (victim / "inner/file").write_text("the host's")
    script = (
        f"mkdir -p /a/inner /b{victim}; echo inside > /a/inner/file; ln -s {victim} /link;"
        " while :; do mv /a /c; mv /link /a; mv /a /link; mv /c /a; done"
    )
    container = runner.start("sh", "-c", script)
    deadline = time.monotonic() + 0.5
    seen = set()
    while time.monotonic() < deadline:
        target = tmp_path / "got"
        try:
            get(engine, container, "/a/inner", target)
        except EngineError:
            pass
        else:
            seen |= {one.read_text() for one in target.rglob("file")}
            subprocess.run(["rm", "-rf", target], check=True)
        try:
            put(engine, files / "file", container, "/a/inner/planted")
        except EngineError:
            continue
    assert seen <= {"inside\n", "data"}
    assert sorted(os.listdir(victim / "inner")) == ["file"]


# Others are not held up, and whoever dies leaves nothing.


def test_a_slow_reader_holds_nobody_up(engine, runner):
    container = runner.start(*SLEEP)
    runner.exec(container, "dd", "if=/dev/zero", "of=/large", "bs=1M", "count=8")
    for verb in ("stop", "start", "remove"):
        read, write = os.pipe()
        failures: list[BaseException] = []
        thread = threading.Thread(target=stream_out, args=(engine, container, write, failures))
        thread.start()
        assert os.read(read, 1)
        if verb == "remove":
            engine.containers.remove(container, force=True)
        elif verb == "stop":
            engine.containers.stop(container, timeout_s=0)
        else:
            engine.containers.start(container)
        os.close(read)
        thread.join(30)
        assert not thread.is_alive()
        assert len(failures) == 1


def stream_out(engine, container, fd, failures):
    from runengine import Engine

    with Engine.open(engine.config.paths) as own:
        try:
            with own.containers.archive_path(container, "/large") as archive:
                archive.write(fd)
        except (EngineError, BrokenPipeError) as error:
            failures.append(error)
        finally:
            os.close(fd)


def test_a_slow_sender_does_not_hold_a_stopped_container_up(cli):
    cli.ok("create", "--name", "box", "busybox", "true")
    sender = cli.begin("cp", "-", "box:/tmp", stdin=subprocess.PIPE)
    sender.stdin.write(b"x")
    sender.stdin.flush()
    time.sleep(0.3)
    cli.ok("rm", "box")
    sender.communicate(timeout=30)
    assert sender.returncode == 1


def test_a_killed_copy_leaves_no_mount(cli):
    cli.ok("create", "--name", "box", "busybox", "true")
    sender = cli.begin("cp", "box:/", "-", stdout=subprocess.PIPE)
    assert sender.stdout.read(1)
    sender.send_signal(signal.SIGKILL)
    sender.communicate()
    assert str(cli.root) not in Path("/proc/self/mountinfo").read_text()
    cli.ok("rm", "box")


@pytest.mark.parametrize("state", ["running", "exited"])
def test_a_full_disk_is_told_and_leaves_no_half_a_file(engine, runner, tmp_path, state):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        container = in_state(runner, state, Binds=[f"{small}:/small"])
        (tmp_path / "large").write_bytes(b"x" * (4 << 20))
        with pytest.raises(EngineError, match="No space left on device"):
            put(engine, tmp_path / "large", container, "/small/large")
        with pytest.raises(EngineError, match="no space left"):
            extract(engine, container, "/small", tars.member("large", b"x" * (4 << 20)))
        assert os.listdir(small) == []
        engine.containers.remove(container, force=True)
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_command_line(cli, tmp_path):
    (tmp_path / "file").write_text("x")
    cli.ok("run", "-d", "--name", "box", "busybox", *SLEEP)
    cli.ok("cp", f"{tmp_path}/file", "box:/tmp/")
    assert cli.ok("exec", "box", "cat", "/tmp/file") == "x"
    cli.ok("cp", "-q", "box:/tmp/file", f"{tmp_path}/again")
    piped = subprocess.run(
        [*cli.command("cp", "box:/tmp/file", "-")], env=cli.environment, stdout=subprocess.PIPE,
        check=True,
    )  # fmt: skip
    cli.ok("cp", "-", "box:/root", stdin=piped.stdout)
    assert cli.ok("exec", "box", "cat", "/root/file") == "x"
    for arguments, words in [
        (("a", "b"), "must specify at least one container source"),
        (("", "box:/"), "source can not be empty"),
        (("-", "box:/tmp/file"), 'destination "box:/tmp/file" must be a directory'),
        (("box:", "x"), "path cannot be empty"),
        (("nobody:/x", "x"), "No such container: nobody"),
    ]:
        done = cli.call("cp", *arguments)
        assert (done.code, words in done.err) == (1, True), done
