"""Mirrors that answer, but not with what they should have."""

from __future__ import annotations

import pytest

from runengine.oci_spec import media_types
from runengine.registry.client import RegistryClient
from runengine.registry.credentials import AuthFiles
from runengine.registry.reference import parse
from tests.support.fake_registry import FakeRegistry, Fault
from tests.support.layouts import Layout


@pytest.fixture
def fake():
    layout = Layout()
    with FakeRegistry(layout) as registry:
        registry.tag("1", layout.image({"hello": b"world"}))
        registry.blobs |= layout.blobs
        yield registry


@pytest.fixture
def ref(fake):
    return parse(f"{fake.host}/team/app:1")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html>please log in</html>", "text/html"),
        (b'{"schemaVersion":2}', media_types.OCI_MANIFEST),
        (b'{"schemaVersion":2,"manifests":3}', media_types.OCI_INDEX),
    ],
)
def test_a_mirror_that_answers_with_something_else_is_passed_over(
    fake, ref, body, media_type
) -> None:
    with FakeRegistry() as mirror:
        mirror.faults["/manifests/1"] = Fault(body=body, headers={"Content-Type": media_type})
        table = {fake.host: [f"http://{mirror.host}"]}
        with RegistryClient(credentials=AuthFiles([]), mirrors=table) as client:
            assert client.manifest(ref).digest == fake.tags["1"]
            assert f"mirror {mirror.host}" in client.notices[0]


def test_only_a_mirror_can_be_distrusted(fake, ref) -> None:
    with FakeRegistry() as mirror:
        mirror.blobs, mirror.tags, mirror.types = fake.blobs, fake.tags, fake.types
        table = {fake.host: [f"http://{mirror.host}"]}
        with RegistryClient(credentials=AuthFiles([]), mirrors=table) as client:
            client.manifest(ref)
            assert fake.asked == []
            assert client.distrust(ref, "what it sent is wrong")
            client.manifest(ref)
            assert len(mirror.asked) == len(fake.asked) == 1
            assert not client.distrust(ref, "what it sent is wrong")
            (notice,) = client.notices
            assert notice.endswith("failed: what it sent is wrong")
