import os

import pytest

from runengine.errors import NotFound
from runengine.netns import counters
from runengine.netns.types import Counters

TEXT = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0
  eth0:    1500      10    1    2    0     0          0         3     2500      20    4    5    0
lan.10:18446744073709551615 9 0 0 0 0 0 0 7 6 0 0 0
"""


def test_interfaces_but_the_loopback():
    assert counters.parse(TEXT) == {
        "eth0": Counters(1500, 10, 1, 2, 2500, 20, 4, 5),
        "lan.10": Counters(2**64 - 1, 9, 0, 0, 7, 6, 0, 0),
    }


def test_nothing_but_the_heading():
    assert counters.parse(TEXT.splitlines()[0]) == {}
    assert counters.parse("") == {}


def test_of_this_process():
    assert "lo" not in counters.read(os.getpid())


def test_of_a_process_that_is_gone():
    with pytest.raises(NotFound, match="process 4194305"):
        counters.read(4194305)
