"""What a running cluster keeps in its directory, for whoever comes later."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from demo.embedded import control
from demo.mesos.processes import start_time

STATE_NAME = "cluster.json"
LOG_NAME = "supervisor.log"


class NotRunningError(Exception):
    """The directory belongs to no cluster that runs."""


class ClusterRecord(msgspec.Struct, frozen=True):
    """What the launcher notes of a cluster: its first process and its ports."""

    pid: int
    started: int
    marathon_port: int
    page_port: int
    supervised: bool

    @property
    def marathon_url(self) -> str:
        """Marathon's API on this machine's loopback."""
        return f"http://127.0.0.1:{self.marathon_port}"

    @property
    def star_url(self) -> str:
        """The page of Star's collector on this machine's loopback."""
        return f"http://127.0.0.1:{self.page_port}"


def default_directory() -> Path:
    """Where this user's background cluster keeps its socket and notes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "marathon-calico-demo"
    return Path("/tmp") / f"marathon-calico-demo-{os.getuid()}"


def read_record(directory: Path) -> ClusterRecord:
    """The notes of the cluster that runs in `directory`."""
    try:
        content = (directory / STATE_NAME).read_bytes()
    except OSError as error:
        raise NotRunningError(f"no cluster runs in {directory}") from error
    record = msgspec.json.decode(content, type=ClusterRecord)
    if start_time(record.pid) != record.started:
        raise NotRunningError(f"the cluster in {directory} has ended")
    return record


def write_record(directory: Path, record: ClusterRecord) -> None:
    """Note a cluster that has started."""
    (directory / STATE_NAME).write_bytes(msgspec.json.encode(record))


def forget(directory: Path) -> None:
    """Remove what a cluster leaves in its directory, but for the lock and the log."""
    for name in (STATE_NAME, control.SOCKET_NAME):
        (directory / name).unlink(missing_ok=True)
