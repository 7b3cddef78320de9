"""Engines on scratch directories, with the default image in them, used as a library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runengine import Engine
from runengine.model import container_config, exec_config, host_config
from runengine.monitor.protocol import AttachOptions
from runengine.paths import Paths
from tests.support.documents import changed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = "runengine/busybox"


@pytest.fixture(scope="session")
def shared_roots(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Directories that every test of the run may use; the default image is there."""
    base: Path = tmp_path_factory.mktemp("engine")
    paths = Paths(str(base / "root"), str(base / "state"))
    with Engine.open(paths) as opened:
        opened.images.ensure_default()
    return paths


@pytest.fixture
def engine(shared_roots: Paths) -> Iterator[Engine]:
    """An engine; whatever containers and volumes a test leaves in it are removed."""
    with Engine.open(shared_roots) as opened:
        yield opened
        for entry in opened.containers.list(all=True):
            opened.containers.remove(entry["Id"], force=True)
        opened.volumes.prune({"all": ["true"]})


class Runner:
    """Makes and starts containers of the default image."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def create(self, *command: str, name: str | None = None, config=None, **host) -> str:
        """Create one, by default on no network; ``host`` are HostConfig fields. Returns its id."""
        wanted = changed(container_config(IMAGE), {"Cmd": list(command), **(config or {})})
        fields = changed(host_config(), {"NetworkMode": "none", **host})
        return self.engine.containers.create(name, wanted, fields).id

    def start(self, *command: str, **options) -> str:
        """Create and start one, detached."""
        container = self.create(*command, **options)
        self.engine.containers.start(container)
        return container

    def run(self, *command: str, **options) -> tuple[int | None, bytes, bytes]:
        """Run one to its end; exit code, standard output, standard error."""
        container = self.create(*command, **options)
        connection = self.engine.containers.start(container, attach=AttachOptions())
        assert connection is not None
        with connection:
            code, streams = collect(connection)
            assert connection.take_over()
        self.engine.containers.finish(container)
        return code, streams[1], streams[2]

    def exec(self, container: str, *command: str, **config) -> tuple[int | None, bytes, bytes]:
        """Run a command in a running container to its end."""
        containers = self.engine.containers
        wanted = changed(exec_config(list(command)), config)
        exec_id = containers.create_exec(container, wanted)
        connection = containers.start_exec(exec_id, attach=AttachOptions())
        assert connection is not None
        with connection:
            code, streams = collect(connection)
        containers.finish_exec(exec_id, code)
        return code, streams[1], streams[2]


def collect(connection) -> tuple[int | None, dict[int, bytes]]:
    """Everything that comes up to the exit frame; the exit code and the streams."""
    streams = {1: b"", 2: b""}
    while True:
        frames = connection.read_frames(30)
        assert frames, "the monitor does not answer"
        for frame in frames:
            if frame.event is None:
                streams[frame.stream] += frame.data
            elif frame.event["event"] == "exit":
                return connection.exit["exit_code"], streams


def logs(engine: Engine, container: str) -> bytes:
    """All that a container has written so far."""
    found: list[bytes] = []
    engine.containers.logs(
        container, emit=lambda _, data: found.append(bytes(data)), stdout=True, stderr=True
    )
    return b"".join(found)


@pytest.fixture
def runner(engine: Engine) -> Runner:
    """Makes containers in ``engine``."""
    return Runner(engine)
