"""The agent's notes on disk: who it is and which tasks it started."""

from __future__ import annotations

import os
import urllib.parse
import uuid
from pathlib import Path

import msgspec

from demo.mesos.records import LaunchOrder, TaskId


class Checkpoint(msgspec.Struct, frozen=True):
    """One task as it was started; `pid` is None while the start is under way."""

    order: LaunchOrder
    container_id: str
    pid: int | None = None
    started: int | None = None


class _Identity(msgspec.Struct, frozen=True):
    agent_id: str


class Store:
    """Files below one directory; each write is complete or has not happened."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tasks = directory / "tasks"

    def agent_id(self) -> str:
        """This agent's id: made at the first start, the same from then on."""
        self._tasks.mkdir(parents=True, exist_ok=True)
        path = self._directory / "agent.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=_Identity).agent_id
        identity = _Identity(f"{uuid.uuid4()}-S0")
        write_durably(path, msgspec.json.encode(identity))
        return identity.agent_id

    def sandbox(self, container_id: str) -> Path:
        """The task's working directory, made if need be."""
        path = self._directory / "sandboxes" / container_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, checkpoint: Checkpoint) -> None:
        """Remember one task."""
        write_durably(self._path(checkpoint.order.task_id), msgspec.json.encode(checkpoint))

    def forget(self, task_id: TaskId) -> None:
        """Drop what is known of one task."""
        self._path(task_id).unlink(missing_ok=True)

    def load(self) -> list[Checkpoint]:
        """Every remembered task."""
        return [
            msgspec.json.decode(path.read_bytes(), type=Checkpoint)
            for path in sorted(self._tasks.glob("*.json"))
        ]

    def _path(self, task_id: TaskId) -> Path:
        return self._tasks / (urllib.parse.quote(task_id, safe="$") + ".json")


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file's content so that a crash leaves the old or the new one."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
