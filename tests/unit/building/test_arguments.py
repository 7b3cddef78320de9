"""What the builders are called with."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from runengine.errors import Unsupported
from runengine.mgr.building import buildah, building, buildkit
from runengine.mgr.building.request import BuildRequest, Prepared

REQUEST = BuildRequest(
    "/c",
    add_hosts=["db:fd00::1", "web:192.0.2.1"],
    ulimits=["nofile=10"],
    ssh=["default"],
    shm_size="64m",
    target="last",
)
COMMON = ["--add-host", "db:fd00::1", "--add-host", "web:192.0.2.1", "--ulimit", "nofile=10",
          "--ssh", "default", "--shm-size", "64m", "--target", "last"]


def prepared(**changes):
    return Prepared(REQUEST._replace(**changes), "/c", "/c/Dockerfile", [], "/t")


def contains(words, wanted):
    pairs = list(pairwise(words))
    return all(pair in pairs for pair in zip(wanted[::2], wanted[1::2], strict=True))


def test_buildah_and_buildx_have_docker_s_own_flags():
    build = prepared(contexts=["base=/elsewhere"])
    wanted = [*COMMON, "--build-context", "base=/elsewhere"]
    assert contains(buildah._arguments(build, "/t/id"), wanted)
    assert contains(buildkit._buildx(build, {}, "/t/image.tar"), wanted)


def test_buildctl_has_options_for_them():
    words = buildkit._buildctl(prepared(), {}, "/t/image.tar")
    wanted = ["add-hosts=db=fd00::1,web=192.0.2.1", "ulimit=nofile=10", "shm-size=64m"]
    assert contains(words, [word for one in wanted for word in ("--opt", one)])
    assert contains(words, ["--ssh", "default"])
    with pytest.raises(Unsupported, match="buildctl"):
        buildkit._buildctl(prepared(contexts=["base=/elsewhere"]), {}, "/t/image.tar")


def test_a_context_in_the_place_of_a_base_image_is_not_pulled():
    def pull(*_words):
        raise AssertionError("nothing is to be pulled")

    request = REQUEST._replace(contexts=["base=/elsewhere"])
    images: Any = None
    assert building._bases(images, request, "FROM base\nFROM scratch\n", pull) == []
