"""build, with Buildah where it is installed, and with a stand-in for BuildKit."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile

import pytest

from runengine.errors import EngineError, InvalidParameter
from runengine.mgr.building.request import BuildRequest
from tests.support import needs
from tests.support.engines import IMAGE
from tests.support.layouts import Layout

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

BUILDKIT = """#!/bin/sh
for word; do echo "$word" >> {log}; done
for word; do case $word in *dest=*) cp {archive} "${{word#*dest=}}";; esac; done
echo building >&2
"""


class Builds:
    """Builds in a context that has busybox; what the builder said is in ``said``."""

    def __init__(self, engine, context):
        self.engine = engine
        self.context = context
        self.said: list[bytes] = []

    def __call__(self, text, stdin=b"", **fields):
        (self.context / "Dockerfile").write_text(text)
        self.said.clear()
        request = BuildRequest(**{"context": str(self.context), **fields})
        return self.engine.images.build(request, io.BytesIO(stdin), say=self.said.append)


@pytest.fixture
def build(engine, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy("/bin/busybox", context)
    yield Builds(engine, context)
    engine.images.prune_builds()


@needs("buildah")
def test_on_an_image_of_ours_with_everything_a_config_can_say(engine, runner, build):
    dockerfile = f"""FROM {IMAGE}
ARG X=1
RUN echo $X > /built && rm /etc/shadow
HEALTHCHECK CMD true
STOPSIGNAL SIGINT
CMD ["cat", "/built"]
"""
    fields = {"tags": ["built:1", "built:2"], "build_args": ["X=7"], "labels": ["k=v"]}
    image = build(dockerfile, **fields)
    assert engine.images.lookup("built:1").image_id == image
    assert engine.images.lookup("built:2").image_id == image
    section = json.loads(engine.images.lookup(image).config)["config"]
    assert section["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert section["StopSignal"] == "SIGINT"
    assert section["Labels"]["k"] == "v"
    assert runner.run("cat", "/built", config={"Image": image})[1] == b"7\n"
    assert b"".join(build.said).startswith(b"STEP 1")
    assert build(dockerfile, quiet=True, **fields) == image  # from the cache
    assert build.said == []


@needs("buildah")
def test_from_scratch_by_stdin_and_a_step_that_fails(engine, runner, build, shared_roots):
    image = build("", b"FROM scratch\nCOPY busybox /bin/sh\n", dockerfile="-")
    assert runner.run("/bin/sh", "-c", "echo x", config={"Image": image})[1] == b"x\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w:gz") as archive:
        archive.add(build.context / "busybox", "busybox")
        text = b"FROM scratch\nCOPY busybox /bin/sh\nCMD [\"/bin/sh\"]\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    assert build("", context.getvalue(), context="-") != image
    with pytest.raises(EngineError, match="buildah failed with exit code") as caught:
        build(f"FROM {IMAGE}\nRUN false\n", quiet=True)
    assert "RUN false" in str(caught.value)
    assert os.listdir(f"{shared_roots.root}/builds") == ["storage"]
    with pytest.raises(InvalidParameter, match="cannot unpack the context"):
        build("", b"\x1f\x8b" + b"damaged" * 100, context="-")


@pytest.mark.parametrize("name", ["docker-buildx", "buildctl"])
def test_buildkit_is_given_the_base_images_and_its_result_is_loaded(
    engine, build, tmp_path, monkeypatch, name
):
    layout = Layout()
    layout.tag("latest", layout.image({"f": name.encode()}))
    folder = layout.write(tmp_path / "layout")
    archive, log, program = tmp_path / "result.tar", tmp_path / "words", tmp_path / name
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, ".")
    program.write_text(BUILDKIT.format(log=log, archive=archive))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    dockerfile = f"FROM {IMAGE} AS x\nFROM scratch"
    image = build(dockerfile, builder=name, tags=["kit:1"], target="x", build_args=["A=b"])
    assert engine.images.lookup("kit:1").image_id == image
    assert build.said == [b"building\n"]
    words = log.read_text().splitlines()
    base = next(word for word in words if f"{IMAGE}=oci-layout://" in word)
    assert "@sha256:" in base
    assert any(word.endswith("A=b") for word in words)
