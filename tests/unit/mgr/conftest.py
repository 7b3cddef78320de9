"""An engine's context on a scratch store, with images that exist by name only."""

import itertools
from typing import Any

import pytest

from runengine.config import defaults
from runengine.errors import NotFound
from runengine.mgr.container.context import Context
from runengine.mgr.events import Events
from runengine.mgr.network.manager import NetworkMgr
from runengine.mgr.network.request import network_config
from runengine.mgr.volume.manager import VolumeMgr
from runengine.model import container_config, host_config
from runengine.store.containers import Record, created_state
from runengine.store.images import StoredImage
from runengine.store.store import Store
from tests.support.documents import changed
from tests.support.network_host import FakeHost


class FakeImages:
    """Images by name; a layer's directory is made up."""

    def __init__(self):
        self.known = {}

    def add(self, name, layers):
        image_id = "sha256:" + (name.encode().hex() * 64)[:64]
        self.known[name] = StoredImage(image_id, "sha256:0", "", "{}", layers, 0, 0.0)
        return self.known[name]

    def lookup(self, name):
        if name not in self.known:
            raise NotFound(f"No such image: {name}")
        return self.known[name]

    def layer_paths(self, layers):
        return [f"/layers/{layer}" for layer in layers]

    def begin_commit(self, image_id, layers, wishes):
        raise AssertionError("nothing here is committed")

    def collect_garbage(self):
        raise AssertionError("nothing here makes garbage")


class FakeNetworks:
    """Nobody is on a network."""

    def endpoints_of(self, _container_id):
        return []

    def wanted_of(self, _container_id):
        return []


@pytest.fixture
def context(roots):
    store = Store.open(roots)
    networks: Any = FakeNetworks()
    settings, events = defaults(roots), Events(roots.journal)
    volumes = VolumeMgr(settings, store, events, lambda _: None, lambda _: False)
    yield Context(settings, store, FakeImages(), events, networks, volumes, [])
    store.close()


@pytest.fixture
def add(context):
    """Adds a container record; keywords beside name, labels, image and host set its state."""
    counter = itertools.count(1)

    def add_one(name, *, labels=None, image=None, host=None, details=None, **state):
        number = next(counter)
        record = Record(
            f"{number:02x}" * 32,
            name,
            image.image_id if image else "sha256:" + "9" * 64,
            f"2026-01-01T00:00:{number:02d}.000000000Z",
            {**container_config("busybox"), "Labels": labels or {}, "Cmd": ["sh"]},
            changed(host_config(), {"NetworkMode": "none", **(host or {})}),
            {"log": {"path": ""}, "mounts": [], **(details or {})},
            image.layers if image else [],
            changed(created_state(), state),
        )
        context.store.containers.add(record)
        return record

    return add_one


@pytest.fixture
def host(monkeypatch):
    """A host that the network manager works on: links and rules are notes."""
    made = FakeHost()
    made.install(monkeypatch)
    return made


@pytest.fixture
def ended():
    """Ids of containers that have ended and that nobody has torn down."""
    return set()


@pytest.fixture
def networks(context, host, ended):
    """A network manager; who has ended gives back what it has when it is looked at."""

    def settle(container_id):
        if container_id in ended:
            manager.release(container_id)

    manager = NetworkMgr(context.config, context.store, context.events, settle)
    return manager


@pytest.fixture
def create(networks):
    """Creates a network; keywords are fields of its configuration."""

    def create_one(name="net", **fields):
        return networks.create(name, {**network_config(), **fields})

    return create_one
