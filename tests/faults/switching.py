"""The switch of a proxy in another process: a UNIX socket, one line asks and one answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.faults.door import EVERYBODY, Door, Fault

ANSWER_SECONDS = 5.0
DONE = "done"


class SwitchRefusedError(Exception):
    """The proxy has no such door or fault."""


def switch(
    path: Path, door: str, fault: Fault, seconds: float = 0.0, speaker: str = EVERYBODY
) -> None:
    """Return once this happens to what passes by that door.

    A `speaker` is the door of the member of etcd that speaks.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(ANSWER_SECONDS)
        channel.connect(str(path))
        channel.sendall(f"{door} {fault} {seconds} {speaker}\n".encode())
        answer = channel.makefile().readline().strip()
    if answer != DONE:
        raise SwitchRefusedError(answer)


async def serve_switch(path: Path, doors: Mapping[str, Door]) -> asyncio.Server:
    """Let whoever may open the socket switch the doors."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        writer.write(f"{await _obey(line.decode(), doors)}\n".encode())
        writer.close()

    return await asyncio.start_unix_server(answer, path)


async def _obey(line: str, doors: Mapping[str, Door]) -> str:
    try:
        name, fault, seconds, *speakers = line.split()
        speaker = doors[speakers[0]].url if speakers else EVERYBODY
        await doors[name].switch(Fault(fault), float(seconds), speaker)
    except KeyError as error:
        return f"no door {error}; there are {', '.join(doors)}"
    except ValueError as error:
        return str(error)
    return DONE
