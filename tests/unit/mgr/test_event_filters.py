"""Filters of ``events``."""

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr.event_filters import compile_filters
from runengine.monitor.journal import message

ID = "abc" + "0" * 61
IMAGE_ID = "sha256:" + "9" * 64


def container(action="start", image="busybox", **attributes):
    return message("container", action, ID, {"image": image, "name": "box", **attributes})


IMAGE = message("image", "tag", IMAGE_ID, {"name": "reg.local:5000/bb:1"})
VOLUME = message("volume", "create", "data", {"driver": "local"})
NETWORK = message("network", "connect", "f00" + "1" * 61, {"name": "net", "container": ID})


@pytest.mark.parametrize(
    ("filters", "one", "wanted"),
    [
        ({}, container(), True),
        ({"type": []}, container(), True),
        ({"type": ["container"]}, container(), True),
        ({"type": ["image"]}, container(), False),
        ({"type": ["image", "container"]}, container(), True),
        ({"event": ["start"]}, container(), True),
        ({"event": ["star"]}, container(), False),
        ({"event": ["exec_create"]}, container("exec_create: sh -c x"), True),
        ({"event": ["exec_create: sh -c x"]}, container("exec_create: sh -c x"), True),
        ({"event": ["exec_create: sh"]}, container("exec_create: sh -c x"), False),
        ({"event": ["exec_start"]}, container("exec_create: exec_start"), False),
        ({"event": ["health_status"]}, container("health_status: healthy"), True),
        ({"event": ["health_status: unhealthy"]}, container("health_status: healthy"), False),
        ({"container": ["abc"]}, container(), True),
        ({"container": [ID]}, container(), True),
        ({"container": ["box"]}, container(), True),
        ({"container": ["/box"]}, container(), True),
        ({"container": ["bo"]}, container(), False),
        ({"container": [""]}, container(), False),
        ({"container": ["bc"]}, container(), False),
        ({"container": ["sha256"]}, IMAGE, False),
        ({"container": ["abc"]}, NETWORK, False),
        ({"image": ["busybox"]}, container(), True),
        ({"image": ["busybox:latest"]}, container(), True),
        ({"image": ["docker.io/library/busybox"]}, container(), True),
        ({"image": ["busybox:2"]}, container(), False),
        ({"image": ["busybox"]}, container(image="busybox:2"), True),
        ({"image": ["busy"]}, container(), False),
        ({"image": ["9999"]}, container(image=IMAGE_ID), True),
        ({"image": ["NOT/a name"]}, container(image="NOT/a name"), True),
        ({"image": ["reg.local:5000/bb"]}, IMAGE, True),
        ({"image": ["reg.local:5000/bb:2"]}, IMAGE, False),
        ({"image": [IMAGE_ID]}, IMAGE, True),
        ({"image": ["sha256:99"]}, IMAGE, True),
        ({"image": ["sha256:"]}, IMAGE, False),
        ({"image": ["data"]}, VOLUME, False),
        ({"label": ["a"]}, container(a="1"), True),
        ({"label": ["a=1"]}, container(a="1"), True),
        ({"label": ["a=2"]}, container(a="1"), False),
        ({"label": ["a=x=y"]}, container(a="x=y"), True),
        ({"label": ["a="]}, container(a="1"), False),
        ({"label": ["a", "b"]}, container(a="1"), False),
        ({"label": ["a", "b=2"]}, container(a="1", b="2"), True),
        ({"volume": ["data"]}, VOLUME, True),
        ({"volume": ["data"]}, NETWORK, False),
        ({"scope": ["local"]}, container(), True),
        ({"scope": ["swarm"]}, container(), False),
        ({"scope": ["local", "swarm"], "type": ["volume"]}, VOLUME, True),
        ({"daemon": ["host"]}, container(), False),
        ({"plugin": ["sshfs"], "type": ["volume"]}, VOLUME, False),
        ({"network": ["net"]}, NETWORK, True),
        ({"network": ["f00"]}, NETWORK, True),
        ({"type": ["container"], "event": ["die"]}, container(), False),
        ({"container": ["box", "other"], "event": ["die", "start"]}, container(), True),
    ],
)
def test_filters(filters, one, wanted):
    assert compile_filters(filters)(one) is wanted


def test_an_unknown_filter_is_refused_with_the_known_ones():
    with pytest.raises(InvalidParameter, match="invalid filter 'nosuch'") as caught:
        compile_filters({"type": ["image"], "nosuch": ["x"]})
    assert "container, event, image, label, network, scope, type, volume" in str(caught.value)
