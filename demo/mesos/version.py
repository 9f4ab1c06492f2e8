"""Which Mesos the stand-in is: the differences between versions, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class MesosVersion:
    """Which Mesos the agent is, major and minor: what it answers depends on it."""

    major: int
    minor: int

    @property
    def has_containers(self) -> bool:
        """Whether `/containers` is there, with the pids of executors."""
        return self >= MesosVersion(1, 0)

    @property
    def state_path(self) -> str:
        """Where the agent's state is."""
        return "/state" if self.has_containers else "/state.json"

    @property
    def strips_ipv6(self) -> bool:
        """Whether the CNI isolator takes the prefix length off an IPv6 address too."""
        return self >= MesosVersion(1, 5)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.1"


DEFAULT_VERSION = MesosVersion(1, 4)


def parse_version(text: str) -> MesosVersion:
    """`1.4` or `0.28.2` to a version; ValueError for anything else."""
    parts = text.split(".")
    if len(parts) < 2:
        raise ValueError(f"not a version of Mesos: {text!r}")
    return MesosVersion(int(parts[0]), int(parts[1]))
