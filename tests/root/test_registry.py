"""Pulls from Debian's docker-registry on loopback (N-08, N-09)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine.errors import Corrupt, NotFound, Unauthorized, Unavailable
from runengine.oci_spec import media_types
from runengine.registry.client import RegistryClient
from runengine.registry.content import ContentStore
from runengine.registry.credentials import AuthFiles, Credentials
from runengine.registry.fetch import fetch_image
from runengine.registry.platform import Platform
from runengine.registry.reference import parse
from tests.support.layouts import Layout, digest_of
from tests.support.registry import Registry, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.needs("docker-registry", "skopeo", "openssl")]

AMD64 = Platform("linux", "amd64")
RANDOM = os.urandom(4 << 20)
USERS = {"bob": "right"}
REFUSED = "refused the credentials of user 'bob'"


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Path:
    """An OCI layout with one image (``one``) and one index (``many``)."""
    made = Layout()
    one = made.image({"random": RANDOM}, {"etc/two": b"2"}, config={"Cmd": ["/bin/sh"]})
    arm64 = made.image({"random": b"arm"}, platform="linux/arm64/v8")
    made.tag("one", one)
    made.tag("many", made.index(linux_amd64=one, linux_arm64_v8=arm64))
    return made.write(tmp_path_factory.mktemp("layout") / "oci")


@pytest.fixture(scope="module")
def registry(tmp_path_factory, layout) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as one:
        one.push_oci(layout, "team/app:oci", tag="one")
        one.push_oci(layout, "team/app:docker", tag="one", docker=True)
        one.push(f"oci:{layout}:many", "team/app:many", everything=True)
        yield one


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(str(tmp_path / "blobs"))


@contextmanager
def opened(**options) -> Iterator[RegistryClient]:
    options.setdefault("credentials", AuthFiles([]))
    with RegistryClient(timeout_s=10, **options) as client:
        yield client


def fetch_blob(client, ref, layer, store) -> None:
    """Bring the rest of a layer into the store."""
    with store.writer(layer.digest, layer.size) as writer:
        if not writer.is_complete:
            with client.blob(ref, layer, offset=writer.offset, verify=False) as stream:
                for chunk in stream:
                    writer.write(chunk)
        writer.commit()


def pull(client, name, store, platform=AMD64):
    """Everything of an image, into the store."""
    ref = parse(name)
    found = fetch_image(client, ref, store, platform)
    for layer in found.layers:
        fetch_blob(client, ref, layer, store)
    return found


def check_store(store) -> None:
    for digest in store.digests():
        assert digest_of(Path(store.path(digest)).read_bytes()) == digest


@pytest.mark.parametrize(
    ("tag", "media_type"),
    [("oci", media_types.OCI_MANIFEST), ("docker", media_types.DOCKER_MANIFEST)],
)
def test_both_formats_by_tag_and_by_digest(registry, store, tag, media_type) -> None:
    with opened() as client:
        found = pull(client, f"{registry.host}/team/app:{tag}", store)
        pinned = pull(client, f"{registry.host}/team/app@{found.manifest_digest}", store)
    assert found.media_type == media_type
    assert pinned._replace(ref=found.ref) == found
    assert json.loads(found.config_bytes)["config"]["Cmd"] == ["/bin/sh"]
    assert len(store.digests()) == 4
    check_store(store)


def test_an_index(registry, store) -> None:
    with opened() as client:
        name = f"{registry.host}/team/app:many"
        amd64 = pull(client, name, store)
        arm64 = pull(client, name, store, Platform.parse("linux/arm64"))
        assert amd64.top_digest == arm64.top_digest
        assert amd64.image_id != arm64.image_id
        assert arm64.config.architecture == "arm64"
        with pytest.raises(NotFound, match="it has: linux/amd64, linux/arm64"):
            pull(client, name, store, Platform.parse("linux/s390x"))


def test_what_is_not_there(registry, store) -> None:
    with opened() as client:
        with pytest.raises(NotFound, match=r"manifest for .*/team/app:nope not found"):
            pull(client, f"{registry.host}/team/app:nope", store)
        with pytest.raises(NotFound, match="not found"):
            pull(client, f"{registry.host}/nobody/nothing", store)
        with pytest.raises(NotFound, match="not found"):
            pull(client, f"{registry.host}/team/app@sha256:{'0' * 64}", store)
    assert store.digests() == set()


def test_tls_is_not_spoken_by_a_plain_registry(registry, store, monkeypatch) -> None:
    from runengine.registry import mirrors

    monkeypatch.setattr(mirrors, "is_loopback", lambda _: False)
    name = f"{registry.host}/team/app:oci"
    with opened() as client, pytest.raises(Unavailable, match="speaks plain HTTP"):
        pull(client, name, store)
    with opened(insecure=[registry.host]) as client:
        pull(client, name, store)


def test_tls(tmp_path, layout, store, monkeypatch) -> None:
    from runengine.registry import mirrors

    with Registry(tmp_path / "registry", tls=True) as registry:
        name = registry.push_oci(layout, "app:1", tag="one")
        with opened() as client:
            pull(client, name, store)  # On loopback HTTPS is found by itself.
        plain = {registry.host: [f"http://{registry.host}"]}
        with opened(mirrors=plain) as client:
            client.manifest(parse(name))
            assert "speaks HTTPS, not plain HTTP" in client.notices[0]
        monkeypatch.setattr(mirrors, "is_loopback", lambda _: False)
        with opened() as client, pytest.raises(Unavailable, match="not trusted") as caught:
            pull(client, name, store)
        assert "/ca.crt" in str(caught.value)
        with opened(insecure=["127.0.0.1"]) as client:
            pull(client, name, store)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(registry.certificate))
        with opened() as client:
            pull(client, name, store)


def test_an_interrupted_download_goes_on_by_range(registry, store) -> None:
    ref = parse(f"{registry.host}/team/app:oci")
    with opened() as client:
        found = fetch_image(client, ref, store, AMD64)
        layer = max(found.layers, key=lambda one: one.size)
        with store.writer(layer.digest, layer.size) as writer, client.blob(ref, layer) as stream:
            writer.write(stream.read(1_000_000))
        with client.blob(ref, layer, offset=1_000_000) as rest:
            assert rest._skip_bytes == 0  # The registry did not begin at 0.
        fetch_blob(client, ref, layer, store)
    check_store(store)
    assert store.has(layer.digest)


def test_a_registry_that_goes_away_and_comes_back(tmp_path, layout, store) -> None:
    with Registry(tmp_path / "registry") as registry, opened() as client:
        registry.push_oci(layout, "app:1", tag="one")
        ref = parse(f"{registry.host}/app:1")
        found = fetch_image(client, ref, store, AMD64)
        layer = max(found.layers, key=lambda one: one.size)
        port = registry.port
        registry.stop()
        with pytest.raises(Unavailable, match=r"cannot reach registry .*refused"):
            fetch_blob(client, ref, layer, store)
        assert list((store.root / "partial").iterdir()) == []
        registry.start()
        again = parse(f"{registry.host}/app:1")
        assert registry.port != port
        fetch_blob(client, again, layer, store)
    check_store(store)


@pytest.mark.parametrize("damage", ["changed", "short", "long"])
def test_damage_in_the_registry_is_seen(tmp_path, layout, store, damage) -> None:
    with Registry(tmp_path / "registry") as registry, opened() as client:
        registry.push_oci(layout, "app:1", tag="one")
        ref = parse(f"{registry.host}/app:1")
        layer = fetch_image(client, ref, store, AMD64).layers[0]
        path = registry.blob_path(layer.digest)
        data = path.read_bytes()
        path.write_bytes(
            {"changed": b"?" + data[1:], "short": data[:-9], "long": data + b"9"}[damage]
        )
        before = store.digests()
        with pytest.raises((Corrupt, Unavailable), match=layer.digest):
            fetch_blob(client, ref, layer, store)
        assert store.digests() == before


def test_basic_auth(tmp_path, layout, store) -> None:
    with Registry(tmp_path / "registry", users=USERS) as registry:
        name = registry.push_oci(layout, "app:1", tag="one")
        with opened() as client, pytest.raises(Unauthorized, match="runengine login 127"):
            pull(client, name, store)
        source = RegistryClient.given(registry.host, Credentials("bob", "wrong"))
        with opened(credentials=source) as client, pytest.raises(Unauthorized, match=REFUSED):
            pull(client, name, store)
        auth_file = tmp_path / "auth.json"
        auth_file.write_text(
            json.dumps({"auths": {registry.host: {"username": "bob", "password": "right"}}})
        )
        with opened(credentials=AuthFiles([str(auth_file)])) as client:
            pull(client, name, store)
    check_store(store)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, layout) -> Iterator[Registry]:
    """With token auth: ``open/app`` is public, ``closed/app`` is not."""
    directory = tmp_path_factory.mktemp("guarded")
    with (
        TokenServer(directory, users=USERS, public=("open/app",)) as tokens,
        Registry(directory / "registry", tokens=tokens) as one,
    ):
        one.push_oci(layout, "open/app:1", tag="one")
        one.push_oci(layout, "closed/app:1", tag="one")
        yield one


def test_token_auth_without_credentials(guarded, store) -> None:
    guarded.tokens.requests.clear()
    with opened() as client:
        pull(client, f"{guarded.host}/open/app:1", store)
        assert [(one.user, one.is_granted) for one in guarded.tokens.requests] == [(None, True)]
        with pytest.raises(Unauthorized, match="needs a login"):
            pull(client, f"{guarded.host}/closed/app:1", store)
    check_store(store)


def test_token_auth_with_credentials(guarded, store) -> None:
    guarded.tokens.requests.clear()
    source = RegistryClient.given(guarded.host, Credentials("bob", "right"))
    with opened(credentials=source) as client:
        pull(client, f"{guarded.host}/closed/app:1", store)
        worker = pickle.loads(pickle.dumps(client))
        with worker:
            worker.manifest(parse(f"{guarded.host}/closed/app:1"))
    assert [one.user for one in guarded.tokens.requests] == ["bob"]


def test_token_auth_with_a_wrong_password(guarded, store) -> None:
    source = RegistryClient.given(guarded.host, Credentials("bob", "wrong"))
    with opened(credentials=source) as client, pytest.raises(Unauthorized, match=REFUSED):
        pull(client, f"{guarded.host}/closed/app:1", store)


def test_a_mirror_of_another_registry(registry, store) -> None:
    with opened(mirrors={"docker.io/team": [f"{registry.host}/team"]}) as client:
        found = pull(client, "docker.io/team/app:oci", store)
        assert client.notices == []
    assert str(found.ref) == "docker.io/team/app:oci"


def test_forked_workers_share_a_client(registry, tmp_path) -> None:
    store = ContentStore(str(tmp_path / "blobs"))
    ref = parse(f"{registry.host}/team/app:oci")
    with opened() as client:
        found = fetch_image(client, ref, store, AMD64)
        workers = []
        for layer in found.layers * 2:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    fetch_blob(client, ref, layer, store)
                    code = 0
                finally:
                    os._exit(code)
            workers.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in workers] == [0] * len(workers)
        assert client.manifest(ref).digest == found.manifest_digest
    check_store(store)
    assert list((store.root / "partial").iterdir()) == []


# -- crashes of the content store

_WRITER = """
    import sys
    from runengine.registry.content import ContentStore
    store = ContentStore(sys.argv[1])
    writer = store.writer(sys.argv[2], int(sys.argv[3]))
    print(writer.offset, writer.is_complete, flush=True)
    while line := sys.stdin.readline():
        if line == "commit\\n":
            writer.commit()
            print("committed", flush=True)
        else:
            writer.write(b"x" * int(line))
            print("written", flush=True)
"""


class WriterProcess:
    """A writer of one blob in a process of its own; a context manager."""

    def __init__(self, store, digest, size) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_WRITER), str(store.root), digest, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> WriterProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def tell(self, text) -> str:
        assert self.process.stdin
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        return self.line()


def test_a_killed_writer_leaves_its_partial_and_nothing_else(store) -> None:
    data = b"x" * 300_000
    digest = digest_of(data)
    for number in range(3):
        with WriterProcess(store, digest, len(data)) as writer:
            assert writer.line() == f"{number * 70_000} False"
            assert writer.tell(70_000) == "written"
        assert list(store.root.rglob("*/*")) == [store.root / "partial" / digest[7:]]
    with WriterProcess(store, digest, len(data)) as writer:
        assert writer.line() == "210000 False"
        writer.tell(90_000)
        assert writer.tell("commit") == "committed"
    assert list(store.root.rglob("*/*")) == [store.root / "sha256" / digest[7:]]
    check_store(store)


def test_a_second_process_waits_and_has_nothing_to_do(store) -> None:
    data = b"x" * 1000
    digest = digest_of(data)
    with WriterProcess(store, digest, 1000) as first:
        assert first.line() == "0 False"
        with WriterProcess(store, digest, 1000) as other:
            first.tell(1000)
            time.sleep(0.2)
            assert first.tell("commit") == "committed"
            assert other.line() == "1000 True"
            assert other.tell("commit") == "committed"
    assert list(store.root.rglob("*/*")) == [store.root / "sha256" / digest[7:]]


def test_a_pull_killed_at_any_moment_is_completed_by_the_next(registry, store, tmp_path) -> None:
    script = tmp_path / "pull.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        from runengine.registry.client import RegistryClient
        from runengine.registry.content import ContentStore
        from runengine.registry.credentials import AuthFiles
        from runengine.registry.fetch import fetch_image
        from runengine.registry.platform import Platform
        from runengine.registry.reference import parse
        client = RegistryClient(credentials=AuthFiles([]))
        ref, store = parse(sys.argv[1]), ContentStore(sys.argv[2])
        print("ready", flush=True)
        found = fetch_image(client, ref, store, Platform("linux", "amd64"))
        for layer in found.layers:
            fetch_blob(client, ref, layer, store)
        """)
    )
    name = f"{registry.host}/team/app:oci"
    for delay_ms in (0, 20, 60, 90, 120, 150, 180, 210):
        process = subprocess.Popen(
            [sys.executable, str(script), name, str(store.root)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(delay_ms / 1000)
        process.kill()
        process.communicate()
        check_store(store)
    with opened() as client:
        pull(client, name, store)
    check_store(store)
    assert len(store.digests()) == 4
    assert list((store.root / "partial").iterdir()) == []
