"""`star-collect`: ask the resources, serve what they answer, until the process is ended."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from pathlib import Path

from demo.star.collect.live import Live
from demo.star.collect.parties import Own
from demo.star.collect.polling import Poller
from demo.star.collect.resources import BadResourceError, parse_resources
from demo.star.collect.site import CollectorSite, read_page
from demo.star.fetch import parse_url, resolve_shortly
from demo.star.listener import open_listeners
from demo.star.serving import SiteServer


def main() -> None:
    """Listen on the given port of every address."""
    parser = _parser()
    options = parser.parse_args()
    resolve_shortly()
    poller = Poller()
    try:
        if options.facts:
            parse_url(options.facts)
        if options.resources_file:
            poller.keep(parse_resources(options.resources_file.read_text()))
    except (OSError, BadResourceError, ValueError) as error:
        parser.error(str(error))
    names = frozenset(name.lower() for name in (socket.gethostname(), *options.name))
    own = Own(os.environ.get("MARATHON_APP_ID", ""), os.environ.get("HOST", ""))
    live = Live(poller, options.facts, own)
    live.start()
    site = CollectorSite(poller, live, read_page())
    for listener in open_listeners(options.port):
        SiteServer(listener, site, names).start()
    signal.pause()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="star-collect")
    parser.add_argument("--port", "--http-port", type=int, default=9001)
    parser.add_argument(
        "--resources-file", type=Path, help='a JSON array of {"id": ..., "url": ...}'
    )
    parser.add_argument("--facts", default="", metavar="URL", help="where star-facts answers")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a host name that browsers may use; addresses, localhost and *.mesos they may",
    )
    return parser


if __name__ == "__main__":
    main()
