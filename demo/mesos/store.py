"""The agent's notes on disk: who it is and which containers it started."""

from __future__ import annotations

import os
import urllib.parse
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from demo.mesos.containers.container import Container
from demo.mesos.records import TaskId


class _Identity(msgspec.Struct, frozen=True):
    agent_id: str


class Store:
    """Files below one directory; each write is complete or has not happened."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._containers = directory / "containers"
        self._executors = directory / "executors"

    def agent_id(self) -> str:
        """This agent's id: made at the first start, the same from then on."""
        self._containers.mkdir(parents=True, exist_ok=True)
        path = self._directory / "agent.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=_Identity).agent_id
        identity = _Identity(f"{uuid.uuid4()}-S0")
        write_durably(path, msgspec.json.encode(identity))
        return identity.agent_id

    def sandbox(self, container_id: str, executor_id: str, task_id: TaskId | None = None) -> Path:
        """A container's working directory, or that of one of its tasks; made if need be.

        It stays when the container has ended, and is found by its executor.
        """
        path = self._directory / "sandboxes" / container_id
        name = self._executors / urllib.parse.quote(executor_id, safe="$")
        if not name.is_symlink() or name.readlink() != path.absolute():
            self._executors.mkdir(parents=True, exist_ok=True)
            name.unlink(missing_ok=True)
            name.symlink_to(path.absolute())
        if task_id is not None:
            path = path / "containers" / urllib.parse.quote(task_id, safe="$")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def sandboxes_of(self, prefix: str) -> list[Path]:
        """The working directories of all executors whose ids begin so, the oldest first."""
        names = [name for name in self._executors.glob("*") if name.name.startswith(prefix)]
        return sorted(names, key=lambda name: name.lstat().st_mtime_ns)

    def network_files(self, nameservers: Sequence[str]) -> dict[str, str]:
        """What tasks find in the place of the host's network files, by its path."""
        if not nameservers:
            return {}
        path = self._directory / "resolv.conf"
        path.write_text("".join(f"nameserver {server}\n" for server in nameservers))
        return {"/etc/resolv.conf": str(path)}

    def save(self, container: Container) -> None:
        """Remember one container as it is."""
        write_durably(self._path(container.container_id), msgspec.json.encode(container))

    def forget(self, container_id: str) -> None:
        """Drop what is known of one container."""
        self._path(container_id).unlink(missing_ok=True)

    def load(self) -> list[Container]:
        """Every remembered container."""
        return [
            msgspec.json.decode(path.read_bytes(), type=Container)
            for path in sorted(self._containers.glob("*.json"))
        ]

    def _path(self, container_id: str) -> Path:
        return self._containers / f"{container_id}.json"


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
