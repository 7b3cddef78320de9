"""Pushes to Debian's docker-registry: read back by skopeo, over TLS, proxies, cut lines (N-10)."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from runengine.errors import Unavailable
from runengine.registry import upload
from tests.support import needs
from tests.support.images import docker_files, image_mgr, tar_stream
from tests.support.layouts import Layout, digest_of, tar_of
from tests.support.middlemen import Middleman, Proxy
from tests.support.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("docker-registry", "skopeo", "openssl", "htpasswd")]

BASE, TOP = {"base": b"b" * 100_000}, {"top": os.urandom(50_000)}
USERS = {"bob": "right"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """With TLS, a user, and a certificate that it wants to see."""
    directory = tmp_path_factory.mktemp("locked")
    with Registry(directory, users=USERS, tls=True, asks_clients=True) as running:
        yield running


@pytest.fixture
def images(roots, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with image_mgr(roots, certs_dirs=(str(tmp_path / "certs"),)) as manager:
        yield manager


def raw(name: str) -> bytes:
    """A manifest as skopeo gets it."""
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def copied(name: str, folder: Path) -> dict[str, Any]:
    """The manifest of an image that skopeo has pulled into a folder, every digest checked."""
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
    subprocess.run([*command, f"docker://{name}", f"dir:{folder}"], check=True)
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return document


def load(images, tag: str, *layers: dict[str, bytes]) -> None:
    """An image with plain layers, as ``docker save`` writes them."""
    tars = [tar_of(files) for files in layers]
    images.load(tar_stream(docker_files(*tars, tags=(tag,))))


def trust(tmp_path, registry, host: str) -> None:
    """The certs.d of a host: its authority, and what we show it."""
    folder = tmp_path / "certs" / host
    folder.mkdir(parents=True)
    shutil.copy(registry.certificate, folder / "ca.crt")
    shutil.copy(registry.certificate, folder / "client.cert")
    shutil.copy(registry.key, folder / "client.key")


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_what_was_pulled_is_pushed_byte_for_byte(registry, images, tmp_path, docker) -> None:
    layout = Layout()
    layout.tag("x", layout.image(BASE, TOP))
    source = registry.push_oci(
        layout.write(tmp_path / "oci"), f"from/{docker}:1".lower(), tag="x", docker=docker
    )
    pulled = images.pull(source)
    target = f"{registry.host}/to/{docker}:2".lower()
    images.tag(source, target)
    (result,) = images.push(target)
    assert result.digest == pulled.digest
    assert raw(target) == raw(source)
    document = copied(target, tmp_path / "back")
    for layer in document["layers"]:
        blob = registry.blob_path(layer["digest"]).read_bytes()
        assert digest_of(blob) == layer["digest"]


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_plain_layers_come_back_as_the_same_image(registry, images, tmp_path, form) -> None:
    name = f"{registry.host}/plain/{form}:1"
    load(images, name, BASE, TOP)
    before = images.lookup(name).image_id
    images.push(name, compression_format=form)
    document = copied(name, tmp_path / "back")
    kinds = {layer["mediaType"] for layer in document["layers"]}
    assert kinds == {f"application/vnd.oci.image.layer.v1.tar+{form}"}
    assert document["config"]["digest"] == before
    images.remove(name, force=True)
    images.collect_garbage(everything=True)
    assert images.pull(name).image_id == before


def test_certificates_a_login_and_a_push(locked, images, tmp_path) -> None:
    from runengine.mgr.registry.manager import RegistryMgr

    name = f"{locked.host}/team/app:1"
    load(images, name, TOP)
    # Without a certificate of ours the registry hangs up.
    with pytest.raises(Unavailable):
        images.push(name)
    trust(tmp_path, locked, locked.host)
    registries = RegistryMgr(images._context.config)
    registries.login(locked.host, "bob", "right")
    (result,) = images.push(name)
    assert images.pull(name).digest == result.digest
    assert registries.logout(locked.host)[1]


def test_a_proxy_by_name_and_no_proxy(locked, images, tmp_path, monkeypatch) -> None:
    from runengine.mgr.registry.manager import RegistryMgr

    def unknown(*_: Any, **__: Any) -> Any:
        raise OSError("no name service here")

    name = "registry.example/team/app:1"
    load(images, name, TOP)
    trust(tmp_path, locked, "registry.example")
    for variable in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with Proxy(locked.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        RegistryMgr(images._context.config).login("registry.example", "bob", "right")
        images.push(name)
        assert images.pull(name).up_to_date
        assert set(proxy.connections) == {"registry.example:443"}
        count = len(proxy.connections)
        monkeypatch.setenv("NO_PROXY", "registry.example")
        monkeypatch.setattr("socket.getaddrinfo", unknown)
        with pytest.raises(Unavailable):
            images.push(name)
        assert len(proxy.connections) == count


def test_a_cut_line_is_gone_on_from(registry, images, monkeypatch) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 1 << 20)
    data = os.urandom(5 << 20)
    with Middleman(registry.port, cut_after=2 << 20, cuts=1) as line:
        name = f"{line.host}/cut/app:1"
        load(images, name, {"big": data})
        images.push(name)
        assert line.cuts == 0
        direct = f"{registry.host}/cut/app:1"
        (layer,) = json.loads(raw(direct))["layers"]
        assert digest_of(registry.blob_path(layer["digest"]).read_bytes()) == layer["digest"]


def test_the_commands(registry, cli, tmp_path) -> None:
    """In processes of their own, several for the layers; without a service and with one."""
    name = f"{registry.host}/cmd/{cli.root.parent.name}:1"
    layers = docker_files(*(tar_of({str(n): os.urandom(9000)}) for n in range(4)), tags=(name,))
    cli.ok("load", "-q", stdin=tar_stream(layers).read())
    lines = cli.ok("push", name).splitlines()
    assert lines[0] == f"The push refers to repository [{name.removesuffix(':1')}]"
    assert sum(line.endswith(": Pushed") for line in lines) == 4
    assert lines[-1] == f"1: digest: {digest_of(raw(name))} size: {len(raw(name))}"
    assert cli.ok("push", "-q", name) == name
    found = cli.ok("events", "--since=1m", "--until=0s", "--filter=event=push")
    assert len(found.splitlines()) == 2
    (tmp_path / "rules").write_bytes(b"some")
    kept = f"{registry.host}/rules:1"
    cli.ok("artifact", "push", "-q", kept, str(tmp_path / "rules"))
    cli.ok("artifact", "pull", "-q", kept, "-o", str(tmp_path / "out"))
    assert (tmp_path / "out/rules").read_bytes() == b"some"
    refused = cli.call("pull", kept)
    assert "artifact pull" in refused.err
    cli.ok("rmi", "-f", name)


def test_an_interrupted_push_ends_and_leaves_nothing(registry, cli) -> None:
    name = f"{registry.host}/slow/{cli.root.parent.name}:1"
    layers = docker_files(tar_of({"big": os.urandom(32 << 20)}), tags=(name,))
    cli.ok("load", "-q", stdin=tar_stream(layers).read())
    before = sorted(os.listdir(cli.root / "blobs/sha256"))
    words = ["push", "--compression-format=zstd", "--compression-level=22", name]
    with cli.begin(*words, stdout=subprocess.PIPE) as process:
        while b"Compressing" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.stdout.read()  # until nobody can write to it any more
    assert process.returncode == -signal.SIGINT
    assert os.listdir(cli.root / "blobs/partial") == []
    assert sorted(os.listdir(cli.root / "blobs/sha256")) == before
    cli.ok("rmi", "-f", name)


def test_a_login_by_stdin_and_by_helper(cli, tmp_path) -> None:
    helper = tmp_path / "docker-credential-file"
    helper.write_text(
        "#!/bin/sh\n"
        f"cd {tmp_path}\n"
        'case "$1" in\n'
        "store) cat > kept ;;\n"
        "get) [ -f kept ] && cat kept || { echo credentials not found; exit 1; } ;;\n"
        "erase) rm -f kept ;;\n"
        "list) [ -f kept ] && echo '{\"'$(cat server)'\":\"bob\"}' || echo '{}' ;;\n"
        "esac\n"
    )
    helper.chmod(0o755)
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credsStore": "file"}')
    environment = {
        **cli.environment,
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    with Registry(tmp_path / "registry", users=USERS) as registry:
        (tmp_path / "server").write_text(registry.host)
        words = ["login", "-u", "bob", "--password-stdin", registry.host]
        wrong = cli.call(*words, stdin=b"wrong", env=environment)
        assert wrong.code == 1
        assert "refused the credentials" in wrong.err
        assert not (tmp_path / "kept").exists()
        right = cli.call(*words, stdin=b"right\n", env=environment)
        assert (right.code, right.out, right.err) == (0, "Login Succeeded\n", "")
        assert json.loads((tmp_path / "kept").read_text())["Secret"] == "right"
        again = cli.call("login", registry.host, env=environment)
        assert "existing credentials of bob" in again.out
        assert "Removing" in cli.call("logout", registry.host, env=environment).out
        assert "Not logged in" in cli.call("logout", registry.host, env=environment).out
        assert not (tmp_path / "kept").exists()


def test_an_import_is_pushed_and_runs_elsewhere(registry, images, busybox_tar) -> None:
    name = f"{registry.host}/bb:1"
    with busybox_tar.open("rb") as file:
        images.import_rootfs(io.BytesIO(file.read()), name)
    (result,) = images.push(name)
    assert digest_of(raw(name)) == result.digest
