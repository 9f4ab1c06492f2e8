"""`python -m demo.page`: forwards the page from an inherited socket to its task."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket

from demo.page.forwarder import Forwarder
from demo.page.where import find_collector
from demo.stories.rest import MarathonApi


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m demo.page")
    parser.add_argument("--listen-fd", type=int, required=True, help="A listening socket.")
    parser.add_argument("--marathon", required=True, help="Marathon's URL.")
    options = parser.parse_args()
    with (
        MarathonApi(options.marathon) as marathon,
        socket.socket(fileno=options.listen_fd) as listener,
        contextlib.suppress(asyncio.CancelledError),
    ):
        asyncio.run(_run(Forwarder(lambda: find_collector(marathon)), listener))


async def _run(forwarder: Forwarder, listener: socket.socket) -> None:
    serving = asyncio.ensure_future(forwarder.run(listener))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await serving


if __name__ == "__main__":
    main()
