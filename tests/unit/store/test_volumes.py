"""Volume records, and who uses them."""

import pytest

from runengine.errors import AlreadyExists, Conflict, NotFound, StateError
from runengine.model import container_config, host_config
from runengine.store.containers import Record, created_state
from runengine.store.store import Store
from runengine.store.volumes import CREATING, REMOVING, Volume

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def store(roots):
    opened = Store.open(roots)
    yield opened
    opened.close()


def add(store, name, **fields):
    volume = Volume(name, "local", "2026", **fields)
    with store.database.write():
        store.volumes.add(volume)
    return volume


def container(store, identity):
    config = container_config("busybox")
    record = Record(
        identity, identity[:4], "sha256:0", "2026", config, host_config(), {}, [], created_state()
    )
    store.containers.add(record)


def use(store, identity, name, *, anonymous=False):
    with store.database.write():
        store.volumes.use(identity, name, anonymous=anonymous)


def test_a_volume_comes_back_as_it_was_written(store):
    volume = add(store, "data", labels={"a": "b"}, options={"o": "x"}, made_for=ONE)
    assert store.volumes.get("data") == volume
    assert store.volumes.all() == [volume]
    assert store.volumes.made_for(ONE) == ["data"]
    assert not volume.anonymous
    with pytest.raises(AlreadyExists, match="volume data already exists"):
        add(store, "data")


def test_what_is_being_made_or_removed_is_there_for_nobody(store):
    for status in (CREATING, REMOVING):
        add(store, status, status=status)
        with pytest.raises(NotFound, match=f"no such volume: {status}"):
            store.volumes.get(status)
        assert store.volumes.find(status) is not None
    assert store.volumes.all("ready") == []
    with store.database.write():
        store.volumes.set_status(store.volumes.all(CREATING)[0], "ready")
    assert store.volumes.get(CREATING).status == "ready"


def test_a_use_goes_with_its_container(store):
    container(store, ONE)
    container(store, TWO)
    add(store, "data")
    add(store, "other")
    use(store, ONE, "data")
    use(store, ONE, "data")
    use(store, TWO, "data", anonymous=True)
    assert store.volumes.users("data") == [ONE, TWO]
    assert store.volumes.use_counts() == {"data": 2}
    assert store.volumes.used_by(TWO, only_anonymous=True) == ["data"]
    assert store.volumes.used_by(ONE, only_anonymous=True) == []
    with pytest.raises(Conflict, match="in use"), store.database.write():
        store.volumes.remove("data")
    store.containers.remove(ONE)
    with store.database.write():
        store.volumes.disuse(TWO, "data")
        store.volumes.remove("data")
    assert store.volumes.names() == {"other"}


def test_a_damaged_record_hides_no_other(store):
    add(store, "whole")
    add(store, "torn")
    with store.database.write() as connection:
        connection.execute("UPDATE volumes SET settings = '{' WHERE name = 'torn'")
    assert [volume.name for volume in store.volumes.all()] == ["whole"]
    with pytest.raises(StateError, match=r"volume torn is damaged.*volume rm -f"):
        store.volumes.get("torn")
    with store.database.write():
        store.volumes.remove("torn")
    assert store.volumes.names() == {"whole"}
