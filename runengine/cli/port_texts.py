"""How ports are shown: ``0.0.0.0:8000-8002->80-82/tcp``; those in a row as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Row(NamedTuple):
    """Ports that follow each other on both sides; without an address only exposed ones."""

    address: str
    protocol: str
    first: int
    public: int
    count: int = 1  # type: ignore[assignment]  # nobody needs tuple.count here


def listed(ports: Iterable[dict[str, Any]]) -> str:
    """The PORTS column for entries of Docker's ``/containers/json``; published ones come last."""
    rows: list[_Row] = []
    for row in sorted(map(_row, ports), key=_order):
        last = rows[-1] if rows else None
        if last is not None and row == _next(last):
            rows[-1] = last._replace(count=last.count + 1)
        elif last is None or row != last._replace(count=1):
            rows.append(row)
    return ", ".join(map(_text, rows))


def _row(port: dict[str, Any]) -> _Row:
    public = port.get("PublicPort") or 0
    address = (port.get("IP") or "0.0.0.0") if public else ""  # noqa: S104
    return _Row(address, port.get("Type", "tcp"), port["PrivatePort"], public)


def _order(row: _Row) -> tuple[bool, str, str, int, int]:
    return row.public > 0, row.protocol, row.address, row.first, row.public


def _next(row: _Row) -> _Row:
    public = row.public + row.count if row.public else 0
    return _Row(row.address, row.protocol, row.first + row.count, public)


def _text(row: _Row) -> str:
    inside = f"{_span(row.first, row.count)}/{row.protocol}"
    if not row.public:
        return inside
    return f"{socket_address(row.address, _span(row.public, row.count))}->{inside}"


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def socket_address(address: str, port: str) -> str:
    """An address and a port; IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
