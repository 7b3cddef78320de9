"""A container's health check and its image's, by Docker's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from runengine.errors import InvalidParameter
from runengine.oci_spec.merge import merge_image
from runengine.oci_spec.validate import check_health
from tests.support import specs

if TYPE_CHECKING:
    from runengine.model import HealthConfig

IMAGE = {"Test": ["CMD", "x"], "Interval": 5, "Timeout": 6, "Retries": 7}


@pytest.mark.parametrize(
    ("own", "image", "merged"),
    [
        (None, None, None),
        (None, IMAGE, IMAGE),
        ({"Test": ["NONE"]}, None, {"Test": ["NONE"]}),
        ({"Test": ["NONE"]}, IMAGE, {**IMAGE, "Test": ["NONE"]}),
        ({"Interval": 9}, IMAGE, {**IMAGE, "Interval": 9}),
        ({"Interval": 9}, None, {"Interval": 9}),
        ({"Test": [], "Interval": 0, "Retries": 1}, IMAGE, {**IMAGE, "Retries": 1}),
        (
            {"Test": ["CMD-SHELL", "y"], "StartPeriod": 3, "StartInterval": 2},
            IMAGE,
            {**IMAGE, "Test": ["CMD-SHELL", "y"], "StartPeriod": 3, "StartInterval": 2},
        ),
    ],
)
def test_what_is_left_open_is_the_images(own, image, merged):
    config = merge_image(specs.config(Healthcheck=own), {"Healthcheck": image})
    assert config["Healthcheck"] == merged


@pytest.mark.parametrize("name", ["Interval", "Timeout", "StartPeriod", "StartInterval"])
def test_times_under_a_millisecond(name):
    def check(value: int) -> None:
        check_health(cast("HealthConfig", {name: value}))

    check(1_000_000)
    check(0)
    for wrong in (999_999, 1, -1_000_000):
        with pytest.raises(InvalidParameter) as caught:
            check(wrong)
        assert str(caught.value).startswith(f"{name} in Healthcheck cannot be less than 1ms")


def test_negative_retries():
    check_health(None)
    check_health({"Retries": 0})
    with pytest.raises(InvalidParameter, match="Retries in Healthcheck cannot be negative"):
        check_health({"Retries": -1})
