"""What the containers of a host need of their agent, and what its operator chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from demo.mesos.containers.container import Process
from demo.mesos.launcher.client import Check, Release, Start


class LaunchRefused(Exception):
    """This order can never be started as it is."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient an agent is, and when it tells addresses; durations are seconds."""

    kill_grace: float = 3.0
    registration: float = 60.0
    late_addresses: float = 0.0


class Machine(Protocol):
    """What the containers need of their agent."""

    def send(self, order: Start | Release | Check) -> None:
        """Tell the launcher; raises LauncherGone."""
        ...

    def watch(self, process: Process) -> bool:
        """Tell of the end of a process that the launcher does not reap; False if it is over."""
        ...

    def publish(self) -> int:
        """Let everyone see the present state; its revision."""
        ...
