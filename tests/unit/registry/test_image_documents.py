"""Documents of images: tolerant of what is new, strict on what is dangerous."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import Corrupt, EngineError, Unsupported
from runengine.ids import Digest
from runengine.oci_spec import image, media_types

A, B = (f"sha256:{char * 64}" for char in "ab")


def manifest(**changes) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {"mediaType": media_types.OCI_CONFIG, "digest": A, "size": 2},
        "layers": [{"mediaType": f"{media_types.OCI_LAYER}+gzip", "digest": B, "size": 3}],
        **changes,
    }
    return json.dumps(document).encode()


def test_a_manifest_with_unknown_keys_and_nulls_is_read() -> None:
    parsed = image.parse_manifest(manifest(annotations=None, subject=None, invented={"x": [1]}))
    assert parsed.config.digest == A
    assert [(layer.digest, layer.size) for layer in parsed.layers] == [(B, 3)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", -1), ("size", 1.5), ("size", "3"), ("size", True), ("size", 1 << 63),
        ("digest", "sha256:xyz"), ("digest", "sha512:" + "a" * 128), ("digest", "sha256:../../x"),
        ("digest", A.upper()), ("digest", None), ("digest", 7),
    ],
)  # fmt: skip
def test_a_bad_descriptor_is_refused(field, value) -> None:
    layer = {"mediaType": media_types.OCI_LAYER, "digest": B, "size": 3, field: value}
    with pytest.raises(Corrupt, match=rf"the thing is malformed: layers\.0\.{field}"):
        image.parse_manifest(manifest(layers=[layer]), name="the thing")


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"7", b"{", b"\xff\xfe", b'{"config": 3}', b'{"layers": []}',
     b"[" * 100_000, b'{"a":' * 100_000, b'{"config":' * 5_000 + b"1" + b"}" * 5_000],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(data) -> None:
    with pytest.raises(Corrupt):
        image.parse_manifest(data)


def test_long_and_wide_documents_are_refused_before_they_are_parsed(monkeypatch) -> None:
    monkeypatch.setattr(image, "_refusing", lambda *_: pytest.fail("parsed"))
    with pytest.raises(Corrupt, match="more than the limit"):
        image.parse_manifest(manifest() + b" " * image.MANIFEST_LIMIT_BYTES)
    with pytest.raises(Corrupt, match="JSON values"):
        image.parse_manifest(manifest(padding=[[]] * image.VALUES_LIMIT))
    with pytest.raises(Corrupt, match="more than the limit"):
        image.parse_config(b" " * (image.CONFIG_LIMIT_BYTES + 1))


def test_other_artifacts_are_named() -> None:
    chart = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": A, "size": 2}
    with pytest.raises(Unsupported, match=r"not a container image.*helm"):
        image.parse_manifest(manifest(config=chart))
    layer = {"mediaType": f"{media_types.OCI_LAYER}+encrypted", "digest": B, "size": 2}
    with pytest.raises(Unsupported, match="encrypted"):
        image.parse_manifest(manifest(layers=[layer]))


@pytest.mark.parametrize(
    ("content_type", "document", "expected"),
    [
        (media_types.OCI_MANIFEST, {}, media_types.OCI_MANIFEST),
        (f"{media_types.OCI_MANIFEST}; charset=utf-8", {}, media_types.OCI_MANIFEST),
        ("application/json", {}, media_types.OCI_MANIFEST),
        ("", {"mediaType": media_types.DOCKER_MANIFEST}, media_types.DOCKER_MANIFEST),
        ("", {"mediaType": None}, media_types.OCI_MANIFEST),
    ],
)
def test_the_type_of_a_manifest(content_type, document, expected) -> None:
    assert image.document_type(manifest(**document), content_type) == expected


def test_the_type_of_an_index() -> None:
    data = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert image.document_type(data, media_types.DOCKER_INDEX) == media_types.DOCKER_INDEX
    assert image.document_type(data, "text/plain") == media_types.OCI_INDEX


@pytest.mark.parametrize(
    ("content_type", "data", "error"),
    [
        (media_types.DOCKER_MANIFEST, manifest(), "but says that it is"),
        (media_types.OCI_INDEX, manifest(mediaType=""), "does not have the form"),
        (media_types.OCI_MANIFEST, b'{"manifests":[]}', "does not have the form"),
        ("", manifest(manifests=[]), "ambiguous"),
        ("", b"{}", "neither"),
        ("", b'{"schemaVersion":2,"mediaType":"text/x"}', "text/x"),
        ("text/html", b"<html>", "malformed"),
    ],
)
def test_contradictions_are_refused(content_type, data, error) -> None:
    with pytest.raises(EngineError, match=error):
        image.document_type(data, content_type)


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}"),
        ("application/json", b'{"schemaVersion":1,"name":"x","fsLayers":[]}'),
    ],
)
def test_schema_1_is_refused_with_a_way_out(content_type, data) -> None:
    # N-08
    with pytest.raises(Unsupported, match=r"schema 1.*skopeo"):
        image.document_type(data, content_type)


def test_a_config_keeps_what_a_dockerfile_said() -> None:
    config = image.parse_config(json.dumps({
        "architecture": "arm64", "os": "linux", "os.version": "1", "created": "yesterday",
        "config": {
            "User": "1:2", "Env": ["A=b"], "Entrypoint": ["/x"], "Cmd": None, "OnBuild": ["RUN y"],
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "WorkingDir": "/w",
            "Labels": {"a": "b"}, "StopSignal": "SIGINT", "Shell": ["/bin/bash", "-c"],
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1, "StartPeriod": 2},
            "Domainname": "",
        },
        "rootfs": {"type": "layers", "diff_ids": [A]},
        "history": [{"created_by": "RUN x", "empty_layer": True}],
    }).encode())  # fmt: skip
    assert config.os_version == "1"
    assert config.config.healthcheck
    assert config.config.healthcheck.start_period == 2
    assert config.config.cmd is None
    assert config.config.on_build == ["RUN y"]
    assert config.history[0].empty_layer is True
    assert image.parse_config(config.to_json()) == config


def test_what_we_write_has_spec_names_and_no_empty_values() -> None:
    config = image.ImageConfig(
        architecture="amd64", os="linux", config=image.ExecutionConfig(cmd=["sh"])
    )
    assert json.loads(config.to_json()) == {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    empty = image.Descriptor(media_type=media_types.OCI_LAYER, digest=Digest(A), size=0)
    assert json.loads(empty.to_json()) == {
        "mediaType": media_types.OCI_LAYER, "digest": A, "size": 0,
    }  # fmt: skip


def test_layers_and_diff_ids_must_agree() -> None:
    parsed = image.parse_manifest(manifest())
    with pytest.raises(Corrupt, match="1 layers but its config has 0 diff ids"):
        image.check_layer_count(parsed, image.parse_config(b"{}"), name="x")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "mediaType", "digest", "size",
                         "schemaVersion", "rootfs", "diff_ids", "history", "platform"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(_json.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=64))
def test_no_document_gets_past_with_another_error(data) -> None:
    for parse in (
        image.document_type,
        image.parse_index,
        image.parse_manifest,
        image.parse_config,
    ):
        with contextlib.suppress(Corrupt, Unsupported):
            parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"manifests":[' + b"{}," * 60_000 + b"{}]}",
        b'{"manifests":[],"annotations":{'
        + b",".join(b'"%d":1' % number for number in range(100_000))
        + b"}}",
    ],
)
def test_a_document_with_countless_faults_is_refused_briefly(data) -> None:
    with pytest.raises(Corrupt, match="is malformed") as caught:
        image.parse_index(data)
    assert len(str(caught.value)) < 200
