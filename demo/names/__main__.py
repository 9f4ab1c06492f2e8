"""`python -m demo.names`: answers for the names that Mesos-DNS would have."""

from __future__ import annotations

import argparse
import signal
import socket
import threading

from demo.names.records import Records, records_of
from demo.names.server import NameServer, Resolver
from demo.stories.rest import MarathonApi, MarathonRefusedError


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m demo.names")
    parser.add_argument("--listen", required=True, help="IP:PORT for UDP and TCP.")
    parser.add_argument("--marathon", required=True, help="Marathon's URL.")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    with MarathonApi(options.marathon) as marathon:

        def read() -> Records | None:
            try:
                return records_of(marathon.tasks())
            except MarathonRefusedError:
                return None

        with NameServer(Resolver(read, _address_of), (host, int(port))):
            stop.wait()


def _address_of(host: str) -> str | None:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return None


if __name__ == "__main__":
    main()
