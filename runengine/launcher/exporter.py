"""The metrics server: a process beside the launcher that answers Prometheus.

It asks nothing and keeps nothing between two scrapes but its totals, and ends with the launcher.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from runengine.errors import EngineError
from runengine.launcher.address import Address, listen, parse_address
from runengine.launcher.answers import Answer, Request, Server
from runengine.launcher.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.metrics import Collector
    from runengine.paths import Paths

__all__ = ["parse_address", "serve"]

PATH = "/metrics"
_HINT = b"runengine: metrics for Prometheus are at /metrics\n"


def serve(paths: Paths, address: str, ready_fd: int | None) -> NoReturn:
    """Serve the metrics of ``paths`` on ``address`` until our parent ends; then exit.

    Once it listens, the address (with the port that the kernel chose for port 0) is written to
    ``ready_fd`` as a line. What goes wrong is one line on standard error, and exit code 1.
    """
    # Before anything that takes time, or it would be somebody else's end that we wait for.
    parent = os.pidfd_open(os.getppid())
    gc.enable()  # off in the launcher, which we were forked from
    try:
        _serve(paths, parse_address(address), ready_fd, parent)
    except EngineError as error:
        log(str(error))
        sys.exit(1)
    sys.exit(0)


def _serve(paths: Paths, address: Address, ready_fd: int | None, parent: int) -> None:
    # Here, because nobody else needs it and it is not small.
    from runengine.mgr.metrics import Collector

    listener = listen(address)
    if not address.path and not address.port:
        address = address._replace(port=listener.getsockname()[1])
        log(f"metrics on {address}")
    if not address.is_private:
        log(f"metrics on {address} can be read by everybody who reaches this host")
    collector = Collector(paths)
    if ready_fd is not None:
        with suppress(BrokenPipeError):
            os.write(ready_fd, f"{address}\n".encode())
        os.close(ready_fd)
    with listener:
        Server(listener, _answers(collector), [parent]).run()


def _answers(collector: Collector) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        if request.path == "/":
            return Answer(200, _HINT)
        if request.path != PATH:
            return Answer(404, _HINT)
        try:
            return expose(collector, request.accept)
        except Exception as error:  # noqa: BLE001 - one bad scrape must not be the last
            log(f"metrics: {type(error).__name__}: {error}")
            return Answer(500, b"the metrics could not be made; see the service's log\n")

    return answer


def expose(collector: Collector, accept: str) -> Answer:
    """The metrics in the format that the client asked for: Prometheus' text, or OpenMetrics."""
    from prometheus_client.exposition import choose_encoder

    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):
        encode, content_type = choose_encoder("")  # it asks for a version that is no number
    return Answer(200, encode(collector), content_type)
