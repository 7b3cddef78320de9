"""Surroundings of a command's own: what is in them, and that they end with it."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.needs("unshare", "findmnt", "ip", "tini")]

LANE = Path(__file__).parents[2] / "scripts/lane"
LOOK = """
echo "processes $(ps -e -o comm= | sort -u | tr '\\n' ' ')"
echo "links $(ls /sys/class/net | tr '\\n' ' ')"
echo "up $(cat /sys/class/net/lo/operstate)"
echo "rules $(nft list ruleset)"
echo "groups $(grep -vc ':/$\\|:/lane$' /proc/self/cgroup)"
echo "netns $(ls /run/netns)"
"""


def groups() -> list[Path]:
    return [*Path("/sys/fs/cgroup").glob("**/runengine-lane-*")]


def test_nothing_of_what_is_around_is_seen():
    done = subprocess.run([LANE, "sh", "-c", LOOK], capture_output=True, text=True, check=True)
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(found["processes"].split()) <= {"tini", "lane", "sh", "ps", "sort", "tr"}
    assert found["links"].split() == ["lo"]
    assert found["up"] == "unknown"  # never "up", for lo; "down" is what it would be
    assert (found["rules"], found["groups"], found["netns"]) == ("", "0", "")


@pytest.mark.parametrize(("last", "code"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_how_it_ends_is_how_the_command_ends(last, code):
    assert subprocess.run([LANE, "sh", "-c", last], check=False).returncode == code


FREEZE = """
for name in cgroup.freeze freezer.state; do
    file=$(find /sys/fs/cgroup -name $name | head -n 1)
    [ -z "$file" ] || found=$file
done
group=${found%/*}/box
mkdir $group
sleep 1234 &
echo $! >$group/cgroup.procs
case $found in
    *.state) echo FROZEN >$group/freezer.state ;;
    *) echo 1 >$group/cgroup.freeze ;;
esac
"""
"""Of version 1 where there is one: in a group of version 2 SIGKILL is heard."""


def test_a_paused_container_does_not_keep_it_from_ending():
    before = groups()
    assert subprocess.run([LANE, "sh", "-c", FREEZE], timeout=60, check=False).returncode == 0
    assert groups() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whatever_it_left_ends_with_it(tmp_path, number):
    """A monitor in a cgroup of its own, and a process that hears no signal."""
    before = groups()
    script = f"""
    mkdir -p $(dirname $(find /sys/fs/cgroup -name cgroup.procs | head -n 1))/below
    trap '' TERM INT
    setsid sleep 1234 &
    echo begun >{tmp_path}/begun
    wait
    """
    with subprocess.Popen([LANE, "sh", "-c", script]) as lane:
        while not (tmp_path / "begun").exists():
            assert lane.poll() is None
            time.sleep(0.02)
        assert len(groups()) > len(before)
        lane.send_signal(number)
    assert lane.returncode == 128 + number
    assert groups() == before
