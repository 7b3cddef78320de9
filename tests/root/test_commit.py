"""commit, diff and export of containers in every state (rows J-01 to J-07)."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import tarfile
import time

import pytest

from runengine import Engine
from runengine.errors import Conflict, InvalidParameter, NotFound
from runengine.mgr.container.frozen import frozen
from runengine.mgr.container.observe import is_frozen
from runengine.mgr.image.commit import Wishes
from tests.support import needs
from tests.support.engines import IMAGE
from tests.support.images import residue
from tests.support.treecmp import differences, manifest
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

SCRIPT = """set -e
rm -r /etc/shadow /home; mkdir /home; echo new > /home/file; ln /home/file /home/same
mkdir -p /srv/deep; echo text > /srv/deep/file; ln -s deep/file /srv/link; mkfifo /srv/pipe
chmod 4711 /srv/deep/file; chown 7:8 /srv/deep
"""


@pytest.fixture
def changed(runner):
    """A container that has run and changed things."""
    container = runner.create("sh", "-c", SCRIPT)
    runner.engine.containers.start(container)
    runner.engine.containers.wait(container)
    return container


def document(engine, image):
    return json.loads(engine.images.lookup(image).config)


def visible(layer):
    """A layer's files but for its whiteouts, whose times are nobody's."""
    found = manifest(layer)
    return {name: entry for name, entry in found.items() if entry.kind != stat.S_IFCHR}


def exported(engine, container, tmp_path):
    with open(tmp_path / "exported.tar", "w+b") as file:
        engine.containers.export(container, file.fileno())
        file.seek(0)
        with tarfile.open(fileobj=io.BytesIO(file.read())) as archive:
            return {member.name: member for member in archive}


def test_a_container_of_the_new_image_finds_it_all(engine, runner, changed):
    wishes = Wishes("committed:1", author="me", comment="why", changes=["ENV NEW=1"])
    image = engine.containers.commit(changed, wishes)
    assert engine.images.lookup("committed:1").image_id == image
    test = "cat /srv/link /home/same; stat -c '%a %u %h' /srv/deep/file /srv/deep /home/file; ls /"
    script = f"{test}; test -p /srv/pipe; echo $? $NEW; ls /etc/shadow"
    code, out, _ = runner.run("sh", "-c", script, config={"Image": "committed:1"})
    words = out.decode().split()
    assert words[:11] == ["text", "new", "4711", "0", "1", "755", "7", "2", "644", "0", "2"]
    assert words[-2:] == ["0", "1"]
    assert code == 1  # there is no shadow any more
    newest = engine.images.history(image)[0]
    assert newest["Comment"] == "why"
    assert newest["CreatedBy"].startswith("sh -c set -e")
    assert newest["Tags"] == ["committed:1"]
    assert document(engine, image)["author"] == "me"


def test_the_layer_is_the_same_copied_or_unpacked(engine, changed, roots):
    image = engine.images.lookup(engine.containers.commit(changed, Wishes("committed:2")))
    copied = engine.images.layer_paths(image.layers)[-1]
    with Engine.open(roots) as other:
        path = f"{roots.root}/saved.tar"
        with open(path, "w+b") as file:
            engine.images.save(["committed:2"], file.fileno())
            file.seek(0)
            assert other.images.load(file) == ["committed:2"]
        there = other.images.lookup("committed:2")
        assert (there.image_id, there.manifest_digest) == (image.image_id, image.manifest_digest)
        unpacked = other.images.layer_paths(there.layers)[-1]
        assert not differences(visible(copied), visible(unpacked))


def test_settings_of_container_and_image_are_kept(engine, runner):
    own = {
        "User": "7:7", "Env": ["A=b"], "WorkingDir": "/srv", "Labels": {"k": "v"},
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"]}, "Entrypoint": ["/bin/sh"], "OnBuild": ["RUN x"],
        "Shell": ["/bin/ash", "-c"],
    }  # fmt: skip
    container = runner.create("-c", "true", config=own)
    section = document(engine, engine.containers.commit(container, Wishes()))["config"]
    same = own.keys() - {"Env", "Labels"}
    assert {key: section[key] for key in same} == {key: own[key] for key in same}
    assert "A=b" in section["Env"]
    assert section["Labels"]["k"] == "v"
    assert section["Cmd"] == ["-c", "true"]


def test_without_a_change_there_is_no_layer_and_the_name_moves(engine, runner):
    container = runner.create("true")
    first = engine.containers.commit(container, Wishes("committed:3"))
    second = engine.containers.commit(container, Wishes("committed:3", comment="again"))
    assert engine.images.lookup("committed:3").image_id == second != first
    assert engine.images.lookup(first).layers == engine.images.lookup(IMAGE).layers
    assert document(engine, second)["history"][-1]["empty_layer"] is True


@pytest.mark.parametrize("pause", [True, False])
def test_a_running_container_goes_on(engine, runner, pause):
    container = runner.start("sh", "-c", "echo x > /file; while true; do sleep 0.01; done")
    wait_for(lambda: runner.exec(container, "cat", "/file")[1] == b"x\n", "the file is there")
    image = engine.containers.commit(container, Wishes(), pause=pause)
    assert engine.containers.get(container).state["Status"] == "running"
    assert runner.run("cat", "/file", config={"Image": image})[1] == b"x\n"


def test_one_that_is_paused_stays_so(engine, runner):
    container = runner.start("sleep", "100")
    engine.containers.pause(container)
    engine.containers.commit(container, Wishes())
    assert engine.containers.get(container).state["Status"] == "paused"


def test_who_is_killed_while_it_holds_a_container_still_leaves_it_running(engine, runner):
    container = runner.start("sleep", "100")
    record = engine.containers.get(container)
    ready, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with frozen(engine.containers._context, record):
                os.write(tell, b"x")
                time.sleep(100)
        finally:
            os._exit(1)
    os.read(ready, 1)
    assert is_frozen(record.details["cgroup"])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for fd in (ready, tell):
        os.close(fd)
    wait_for(lambda: not is_frozen(record.details["cgroup"]), "it is thawed")


def test_what_is_refused_leaves_nothing(engine, runner, shared_roots):
    container = runner.create("true")
    before = residue(shared_roots)
    wrong = Wishes("Not Valid"), Wishes("x@sha256:" + "0" * 64), Wishes(changes=["FROM x"])
    for wishes in wrong:
        with pytest.raises(InvalidParameter):
            engine.containers.commit(container, wishes)
    with pytest.raises(NotFound):
        engine.containers.commit("nobody", Wishes())
    evil = runner.create("touch", "/.wh.x")
    engine.containers.start(evil)
    engine.containers.wait(evil)
    with pytest.raises(Conflict, match=r"\.wh\.x cannot be in an image"):
        engine.containers.commit(evil, Wishes())
    assert residue(shared_roots) == before


def test_an_image_that_is_gone_is_told(engine, runner):
    container = runner.create("true")
    image = engine.containers.commit(container, Wishes("committed:gone"))
    child = runner.create("true", config={"Image": image})
    engine.images.remove("committed:gone", force=True)
    with pytest.raises(Conflict, match="was removed"):
        engine.containers.commit(child, Wishes())


def test_diff_says_what_changed_and_nothing_of_ours(engine, runner, changed):
    listed = {f"{change.kind} {change.path}" for change in engine.containers.diff(changed)}
    assert {"D etc/shadow", "C etc", "A home/file", "A srv/deep/file"} <= listed
    assert not any("hosts" in line or "console" in line for line in listed)
    assert engine.containers.diff(runner.create("true")) == []
    image = engine.containers.commit(changed, Wishes())
    assert {f"{c.kind} {c.path}" for c in engine.images.diff(image)} == listed


def test_export_gives_the_same_in_every_state(engine, runner, changed, tmp_path):
    stopped = exported(engine, changed, tmp_path)
    assert stopped["srv/link"].linkname == "deep/file"
    assert stopped["home/same"].islnk()
    assert stopped["srv/pipe"].isfifo()
    assert "etc/shadow" not in stopped
    assert "bin/busybox" in stopped
    script = SCRIPT + "touch /ready; sleep 100"
    running = runner.start("sh", "-c", script, Binds=[f"{tmp_path}:/outside"])
    wait_for(lambda: not runner.exec(running, "ls", "/ready")[0], "it is ready")
    own = set(exported(engine, running, tmp_path))
    assert own - set(stopped) == {"ready", "outside"}
    engine.containers.pause(running)
    assert set(exported(engine, running, tmp_path)) == own
    never = exported(engine, runner.create("true"), tmp_path)
    assert "etc/shadow" in never


def test_export_of_a_container_that_is_removed_meanwhile_holds_nothing_up(engine, runner):
    container = runner.start("sleep", "100")
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reader)
            engine.containers.export(container, writer)
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1), "it has begun, and now waits for its reader"
    engine.containers.remove(container, force=True)
    os.close(reader)
    os.waitpid(pid, 0)
