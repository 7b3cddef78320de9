"""Containers in user namespaces, by real runc: whose files, processes and networks are whose."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from runengine import Engine
from runengine.errors import Conflict, InvalidParameter, Unavailable
from runengine.linux import kernel
from runengine.linux import userns as namespaces
from runengine.mgr.container import userns
from runengine.mgr.container.copying import Place
from runengine.oci_spec.idmaps import SPARE_ID
from runengine.paths import Paths
from tests.support.engines import Runner

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not kernel.probe().at_least(5, 19), reason="overlay maps ids since 5.19"),
]
BASE, SIZE = 1 << 31, 65536
WAIT = ("sleep", "1000")
NS_GET_USERNS = 0xB701  # ioctl_ns(2)


@pytest.fixture
def box(shared_roots):
    """Containers in an engine whose volatile directory root of a user namespace gets to."""
    state = tempfile.mkdtemp(prefix="runengine-userns-", dir="/run")
    os.chmod(state, 0o755)
    try:
        with Engine.open(Paths(shared_roots.root, f"{state}/state")) as engine:
            yield Runner(engine)
            for entry in engine.containers.list(all=True):
                engine.containers.remove(entry["Id"], force=True)
        places = Path(f"{state}/state-userns")
        assert not (places.exists() and os.listdir(places))
    finally:
        shutil.rmtree(state)


def ids_of(pid):
    """The real uid and gid of a process, as the host has them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(("Uid:", "Gid:"))]


def root_of(box, container):
    """Who root of a container is on the host."""
    maps = userns.maps_of(box.engine.containers.get(container))
    return maps.root if maps else None


def test_root_inside_is_nobody_outside(box):
    script = (
        "touch /made; chown 5:6 /made; rm /etc/group; echo hi >>/etc/hosts && touch /done;"
        " exec sleep 1000"
    )
    container = box.create("sh", "-c", script, UsernsMode="auto")
    containers = box.engine.containers
    containers.start(container)
    shown = containers.inspect(container)
    assert shown["HostConfig"]["UsernsMode"] == "auto"
    assert ids_of(shown["State"]["Pid"]) == [BASE, BASE]
    script = "until [ -e /done ]; do sleep 0.05; done; stat -c %u:%g / /made /etc/hosts; id -u"
    code, out, _ = box.exec(container, "sh", "-c", script)
    assert (code, out.split()) == (0, [b"0:0", b"5:6", b"0:0", b"0"])
    # On the disk files have the owners that the container sees: whatever reads the layer is right.
    upper = Path(shown["GraphDriver"]["Data"]["UpperDir"])
    made = (upper / "made").stat()
    assert (made.st_uid, made.st_gid) == (5, 6)
    assert (upper / "etc/group").stat().st_uid == SPARE_ID  # overlayfs made the mark of a removal
    seen = Path(f"/proc/{shown['State']['Pid']}/root/made").stat()
    assert (seen.st_uid, seen.st_gid) == (BASE + 5, BASE + 6)
    # The next one has other ids, until the first one is gone.
    other = box.create("true", UsernsMode="auto")
    assert root_of(box, other) == (BASE + SIZE, BASE + SIZE)
    containers.remove(container, force=True)
    again = box.create("true", UsernsMode="auto:size=10")
    assert root_of(box, again) == (BASE, BASE)


def test_binds_with_and_without_mapped_owners(box, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("here")
    script = (
        "stat -c %u /plain /mapped /mapped/file; echo x >/mapped/new && echo written;"
        " echo x >/plain/no || echo refused"
    )
    code, out, _ = box.run(
        *("sh", "-c", script),
        UsernsMode="auto",
        Binds=[f"{tmp_path}:/plain", f"{tmp_path}:/mapped:idmap"],
    )
    assert (code, out.split()) == (0, [b"65534", b"0", b"0", b"written", b"refused"])
    assert (tmp_path / "new").stat().st_uid == 0


def test_copies_have_the_owners_that_the_container_sees(box, tmp_path):
    source = tmp_path / "file"
    source.touch()
    os.chown(source, 7, 8)
    container = box.start(*WAIT, UsernsMode="auto", config={"Volumes": {"/volume": {}}})
    copy = box.engine.containers.copy
    for target in ("/etc/copy", "/volume/copy"):
        copy(Place(str(source)), Place(target, container))
        code, out, _ = box.exec(container, "stat", "-c", "%u:%g", target)
        assert (code, out) == (0, b"7:8\n")
        back = tmp_path / "back"
        copy(Place(target, container), Place(str(back)), keep_owner=True)
        assert (back.stat().st_uid, back.stat().st_gid) == (7, 8)
        back.unlink()
    box.engine.containers.remove(container, force=True, volumes=True)


def test_maps_of_the_users_and_a_restart(box):
    maps = {"UidMap": ["0:300000:10", "10:400000:5"], "GidMap": ["0:500000:3"]}
    container = box.start(*WAIT, UsernsMode="private", IDMappings=maps)
    for _ in range(2):
        pid = box.engine.containers.inspect(container)["State"]["Pid"]
        assert ids_of(pid) == [300000, 500000]
        code, out, _ = box.exec(container, "id", "-u", User="12:2")
        assert (code, out) == (0, b"12\n")
        box.engine.containers.restart(container, timeout_s=0)
    with pytest.raises(InvalidParameter, match="uid 20 is not in"):
        box.start("true", UsernsMode="private", IDMappings=maps, config={"User": "20"})


def test_another_containers_namespace_is_joined(box):
    containers = box.engine.containers
    one = box.start(*WAIT, name="one", UsernsMode="auto:size=99,uidmapping=7:1000:1")
    shared = {"UsernsMode": "container:one", "PidMode": "container:one"}
    two = box.start(*WAIT, name="two", **shared)
    seen = []
    for container in (one, two):
        code, out, _ = box.exec(container, "sh", "-c", "readlink /proc/self/ns/user; id -u")
        assert (code, out.split()[1]) == (0, b"0")
        seen.append(out)
    assert seen[0] == seen[1]
    assert ids_of(containers.inspect(two)["State"]["Pid"]) == list(root_of(box, one))
    containers.stop(one, timeout_s=0)
    with pytest.raises(Conflict, match="cannot join user of a non running container: one"):
        containers.restart(two, timeout_s=0)


def test_a_namespace_that_is_joined_is_the_one_meant_and_owns_the_network():
    text = f"0 {BASE} 10\n"
    with closing(namespaces.make(text, text)) as one:
        with closing(namespaces.make(text, text, network=True, join=one.path)) as two:
            assert os.fstat(one.user_fd).st_ino == os.fstat(two.user_fd).st_ino
            owner_fd = fcntl.ioctl(two.network_fd, NS_GET_USERNS)
            assert os.fstat(owner_fd).st_ino == os.fstat(one.user_fd).st_ino
            os.close(owner_fd)
        with pytest.raises(ProcessLookupError, match="uid_map"):
            namespaces.make(f"0 {BASE} 9\n", text, join=one.path)


def test_a_killed_start_leaves_nothing_that_the_next_minds(box):
    container = box.create("cat", "/proc/self/uid_map", UsernsMode="auto")
    context = box.engine.containers._context
    record = box.engine.containers.get(container)
    left = userns.make(context, record)
    assert left is not None
    upper = context.data_dir(container)
    left.mount_root(context.images.layer_paths(record.layers)[::-1], upper, f"{upper}/merged")
    # As if the command had died here; then another one starts it.
    box.engine.containers.start(container)
    assert box.engine.containers.wait(container).exit_code == 0
    left.close()


def test_a_way_that_is_barred(box):
    state = Path(box.engine.containers._context.paths.state).parent
    container = box.create("true", UsernsMode="auto")
    state.chmod(0o700)
    with pytest.raises(Unavailable, match=rf"{state} can only be passed by its owner"):
        box.engine.containers.start(container)
    state.chmod(0o755)
    box.engine.containers.start(container)
    assert json.dumps(box.engine.containers.inspect(container)["HostConfig"])
