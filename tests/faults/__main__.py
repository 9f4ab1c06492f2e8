"""`python -m tests.faults`: a proxy as a process of its own, and the switch of one.

python -m tests.faults serve /tmp/faults.sock etcd=127.0.0.1:2379=127.0.0.1:12379
python -m tests.faults switch /tmp/faults.sock etcd delay 0.5
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.faults.door import EVERYBODY, Address, Fault, parse_address
from tests.faults.proxy import opened
from tests.faults.switching import SwitchRefusedError, serve_switch, switch


def main() -> None:
    """Serve until the input ends, or switch once."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="Pass on until standard input ends.")
    serving.add_argument("socket", type=Path)
    serving.add_argument("doors", nargs="+", metavar="NAME=LISTEN=UPSTREAM")
    switching = commands.add_parser("switch", help="Break what passes by one door, or mend it.")
    switching.add_argument("socket", type=Path)
    switching.add_argument("door")
    switching.add_argument("fault", type=Fault, choices=list(Fault))
    switching.add_argument("seconds", type=float, nargs="?", default=0.0)
    switching.add_argument(
        "--speaker", default=EVERYBODY, help="Of one member of etcd only: its door."
    )
    options = parser.parse_args()
    if options.command == "serve":
        asyncio.run(_serve(options.socket, dict(map(_parse_door, options.doors))))
        return
    try:
        switch(options.socket, options.door, options.fault, options.seconds, options.speaker)
    except SwitchRefusedError as error:
        sys.exit(str(error))


def _parse_door(text: str) -> tuple[str, tuple[Address, Address]]:
    name, at, upstream = text.split("=")
    return name, (parse_address(at), parse_address(upstream))


async def _serve(path: Path, places: Mapping[str, tuple[Address, Address]]) -> None:
    async with opened(places) as doors, await serve_switch(path, doors):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    main()
