"""The seam between a Mesos agent and what attaches its containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from demo.mesos.records import Json


class IsolationFailed(Exception):
    """The container could not be attached or detached; Marathon is shown the message."""


@dataclass(frozen=True, slots=True)
class Attached:
    """What an attached container has.

    `infos` are its NetworkInfos with the addresses it was given, as
    `container_status` tells them. `files` stand in the place of others in its
    mount namespace, by the path they replace.
    """

    infos: tuple[Json, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class Isolator(Protocol):
    """Attaches containers; one call at a time for each container, from any thread."""

    name: str

    def attach(self, container_id: str, pid: int, networks: tuple[Json, ...]) -> Attached:
        """Attach the namespace of a process that has not run yet; raises IsolationFailed."""
        ...

    def detach(self, container_id: str) -> None:
        """Undo what was done for a container, also what failed; raises IsolationFailed."""
        ...

    def leftovers(self) -> frozenset[str]:
        """The containers of which something is left that an earlier run of the agent made."""
        ...


def addresses_of(info: Json) -> tuple[str, ...]:
    """The addresses of a NetworkInfo."""
    return tuple(
        entry["ip_address"] for entry in info.get("ip_addresses", ()) if entry.get("ip_address")
    )


def with_addresses(info: Json, addresses: tuple[tuple[str, str], ...]) -> Json:
    """A NetworkInfo as it was asked for, with these pairs of protocol and address."""
    given = [{"protocol": protocol, "ip_address": address} for protocol, address in addresses]
    return {"port_mappings": [], **info, "ip_addresses": given}
