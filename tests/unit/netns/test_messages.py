"""Requests to the kernel, and how little of pyroute2 they take."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runengine.netns import messages

ROOT = Path(__file__).resolve().parents[3]


def in_a_fresh_interpreter(script: str):
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SOME_REQUEST = """
import json, sys
from runengine.netns import messages
messages.request(messages.RTM_GETLINK, [("IFLA_IFNAME", "lo")])
"""


@pytest.mark.side_effects
def test_the_rest_of_pyroute2_is_not_imported():
    loaded = in_a_fresh_interpreter(SOME_REQUEST + "print(json.dumps(list(sys.modules)))")
    assert "pyroute2.netlink.rtnl.ifinfmsg" in loaded
    assert not {"asyncio", "sqlite3", "pyroute2.iproute", "pyroute2.ndb"} & set(loaded)


@pytest.mark.side_effects
@pytest.mark.parametrize(
    "statement",
    [
        "from pyroute2 import IPRoute",
        "import pyroute2; IPRoute = pyroute2.IPRoute",
        "from pyroute2.iproute import IPRoute",
        "import pyroute2.iproute; IPRoute = pyroute2.iproute.IPRoute",
    ],
)
def test_but_is_there_for_whoever_asks_for_it(statement):
    script = f"{SOME_REQUEST}{statement}\nprint(json.dumps(IPRoute.__name__))"
    assert in_a_fresh_interpreter(script) == "IPRoute"


@pytest.mark.side_effects
def test_a_name_that_it_does_not_have_is_missing_as_ever():
    script = f"{SOME_REQUEST}import pyroute2\nprint(json.dumps(hasattr(pyroute2, 'nothing')))"
    assert in_a_fresh_interpreter(script) is False


@pytest.mark.side_effects
def test_one_that_was_imported_before_is_used():
    script = f"import pyroute2\n{SOME_REQUEST}print(json.dumps(pyroute2.__name__))"
    assert in_a_fresh_interpreter(script) == "pyroute2"


def test_a_request_can_be_read_again():
    info = messages.nested(("IFLA_INFO_KIND", "bridge"))
    attributes = [("IFLA_IFNAME", "brt0"), ("IFLA_MTU", 1400), ("IFLA_LINKINFO", info)]
    request = messages.request(messages.RTM_NEWLINK, attributes, {"index": 7, **messages.UP})
    message = messages.parse(request, messages.RTM_NEWLINK)
    assert (message["index"], message["flags"], message["change"]) == (7, 1, 1)
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"
