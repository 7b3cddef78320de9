"""Names first, then ids; tags move (rows N-05, N-11, N-15)."""

from __future__ import annotations

import pytest

from runengine.errors import AmbiguousName, InvalidParameter, NotFound
from runengine.mgr.image import naming
from runengine.store.database import Database
from runengine.store.images import Images

HEX = "0123456789abcdef"
BEEF = "sha256:beef" + "0" * 60
BEE0 = "sha256:bee0" + "1" * 60


@pytest.fixture
def images(tmp_path):
    database = Database(str(tmp_path / "state.db"))
    yield Images(database)
    database.close()


def put(images, image_id, *names, manifest="sha256:" + "a" * 64):
    images.put_image(image_id, manifest, config="{}", layers=[], size_bytes=0, media_type="m")
    for name in names:
        images.set_name(name, image_id, manifest)


def test_bare_name_means_latest_in_the_default_namespace(images):
    put(images, BEEF, "docker.io/library/debian:latest")
    found = naming.find(images, "debian")
    assert (found.image.image_id, found.name) == (BEEF, "docker.io/library/debian:latest")


def test_a_name_of_hex_digits_comes_before_the_id_prefix(images):  # N-05, Z-33
    put(images, BEEF)
    put(images, BEE0, "docker.io/library/beef:latest")
    assert naming.find(images, "beef").image.image_id == BEE0
    images.remove_name("docker.io/library/beef:latest")
    assert naming.find(images, "beef").image.image_id == BEEF


def test_id_prefix_with_and_without_algorithm(images):  # N-05
    put(images, BEEF)
    put(images, BEE0)
    assert naming.find(images, "beef").image.image_id == BEEF
    assert naming.find(images, "sha256:bee0").image.image_id == BEE0
    assert naming.find(images, BEE0[7:]).name is None
    with pytest.raises(AmbiguousName, match="bee"):
        naming.find(images, "bee")


def test_digest_wins_over_the_tag(images):  # N-08
    digest = "sha256:" + "c" * 64
    put(images, BEEF, f"docker.io/library/debian@{digest}")
    assert naming.find(images, f"debian:nosuchtag@{digest}").image.image_id == BEEF


@pytest.mark.parametrize("text", ["nosuch", "nosuch:1", "a" * 64, "sha256:" + "a" * 64])
def test_missing_image_is_named(images, text):
    with pytest.raises(NotFound, match="No such image: " + text):
        naming.find(images, text)


@pytest.mark.parametrize("text", ["", "Debian", "a b", "../x", "x:", "http://x/y"])
def test_a_text_that_is_no_reference(images, text):  # N-03
    with pytest.raises(InvalidParameter, match="invalid reference"):
        naming.find(images, text)


def test_tag_moves_and_the_other_image_keeps_its_other_names(images):  # N-11
    put(images, BEEF, "docker.io/library/a:latest", "docker.io/library/b:latest")
    put(images, BEE0, "docker.io/library/c:latest")
    assert naming.tag(images, "c", "a") == "docker.io/library/a:latest"
    assert naming.find(images, "a").image.image_id == BEE0
    assert naming.find(images, "b").image.image_id == BEEF


@pytest.mark.parametrize(
    "name", ["x@sha256:" + "a" * 64, "sha256", "sha256:tag", "foo/sha256:1", "UPPER"]
)
def test_names_that_tag_refuses(images, name):  # N-11
    put(images, BEEF, "docker.io/library/a:latest")
    with pytest.raises(InvalidParameter):
        naming.tag(images, "a", name)
    assert images.names_of(BEEF) == ["docker.io/library/a:latest"]


def test_tag_of_a_missing_source(images):
    with pytest.raises(NotFound):
        naming.tag(images, "nosuch", "b")


def test_tag_of_an_image_that_is_removed_meanwhile(images, monkeypatch):
    put(images, BEEF, "docker.io/library/a:latest")
    found = naming.find(images, "a")
    images.remove_image(BEEF)
    monkeypatch.setattr(naming, "find", lambda *_: found)
    with pytest.raises(NotFound, match="just removed"):
        naming.tag(images, "a", "b")


def test_tag_of_a_name_takes_its_manifest(images):
    put(images, BEEF, "docker.io/library/a:latest")
    other = "sha256:" + "d" * 64
    images.set_name("docker.io/library/b:latest", BEEF, other)
    naming.tag(images, "b", "c")
    row = images.find_name("docker.io/library/c:latest")
    assert row is not None
    assert row.manifest_digest == other


def test_names_as_docker_shows_them():  # N-15
    digest = "sha256:" + "e" * 64
    assert naming.shown(
        ["docker.io/library/a:1", f"docker.io/library/a@{digest}", "localhost:5000/x/y:2"]
    ) == (["a:1", "localhost:5000/x/y:2"], [f"a@{digest}"])
