"""Exec sessions that cannot begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from runengine.monitor.execs import Execs

if TYPE_CHECKING:
    from runengine.monitor.peer import Peer


class FakePeer:
    """Remembers what it is told."""

    def __init__(self):
        self.errors = []

    def error(self, kind, text):
        self.errors.append((kind, text))


def test_without_room_for_its_files_it_is_refused_in_plain_words(loop, tmp_path):
    peer = FakePeer()
    job: Any = {"id": "c0ffee", "runtime": "runc", "state_dir": f"{tmp_path}/gone"}
    nobody: Any = None
    execs = Execs(loop, nobody, job)
    execs.start(cast("Peer", peer), {"exec_id": "ab" * 32, "process": {"args": ["true"]}})
    text = "cannot start exec abababababab: No such file or directory"
    assert peer.errors == [("RuntimeFailed", text)]
    assert execs.describe() == {}
