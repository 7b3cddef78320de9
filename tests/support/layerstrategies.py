"""Random layers for hypothesis: few names, so that they collide; many tricks."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.support.tars import member

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Members = list[tuple[tarfile.TarInfo, bytes]]

PLAIN = ["a", "b", "c", "d"]
MODES = [0o644, 0o600, 0o755, 0o4755, 0o1777]


def paths(parts: list[str], longest: int = 3) -> SearchStrategy[str]:
    """Names of up to ``longest`` components."""
    return st.lists(st.sampled_from(parts), min_size=1, max_size=longest).map("/".join)


@st.composite
def members(draw, names: SearchStrategy[str], targets: SearchStrategy[str]):
    """One member."""
    name = draw(names)
    kind = draw(
        st.sampled_from(
            [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
        )
    )
    data = draw(st.binary(max_size=3)) if kind == tarfile.REGTYPE else b""
    target = draw(targets) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return member(name, data, kind=kind, mode=draw(st.sampled_from(MODES)), linkname=target)


def evil_layers() -> SearchStrategy[Members]:
    """Members in any order, with every trick a name can play."""
    parts = [*PLAIN[:3], "..", ".", "", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh..wh.plnk", ".wh..."]
    names = st.tuples(st.sampled_from(["", "/", "./", "../", "//"]), paths(parts)).map("".join)
    targets = st.tuples(
        st.sampled_from(["", "/", "../", "../../", "../../outside/"]), paths([*PLAIN[:3], ".."])
    ).map("".join)
    return st.lists(members(names, targets), max_size=12)


def fair_layers(*, whiteouts: bool = True) -> SearchStrategy[Members]:
    """Members that a tool might write: no tricks, each name once, parents before children."""
    parts = [*PLAIN, *([".wh.a", ".wh.b", ".wh.c", ".wh..wh..opq"] if whiteouts else [])]
    targets = st.tuples(st.sampled_from(["", "/"]), paths(PLAIN, 2)).map("".join)
    layer = st.lists(
        members(paths(parts), targets), max_size=8, unique_by=lambda pair: pair[0].name
    )
    return layer.map(lambda found: sorted(found, key=lambda pair: pair[0].name.split("/")))
