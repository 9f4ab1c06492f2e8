"""Blocks of addresses, and who holds what of them: values of Calico's IPAM."""

from dataclasses import dataclass

from netaddr import IPNetwork

from calico.model import ContainerId, HandleId, HostName
from calico.names import handle_of_container

BLOCK_SIZE = 64
#: Marks allocations as ours in Calico's blocks; others are never released.
OWNER = ("owner", "marathon-calico")
#: Beside the owner, of what an agent gave to a container: which, on which host,
#: and which task the host's Mesos agent said that it is for.
CONTAINER, ON_HOST, RUNS = "container", "host", "runs"


def marks_of_container(
    container: ContainerId, host: HostName, runs: str = ""
) -> tuple[tuple[str, str], ...]:
    """What an agent writes beside an address that it gives to a container.

    `runs` is the task, or its executor; empty if it is not known yet.
    """
    marks = (OWNER, (CONTAINER, container), (ON_HOST, host))
    return (*marks, (RUNS, runs)) if runs else marks


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who holds one address of a block; `secondary` maps str to str."""

    handle: HandleId | None
    secondary: tuple[tuple[str, str], ...] = ()

    @property
    def container(self) -> ContainerId | None:
        """The container that the address was given to, also after a task claimed it."""
        found = dict(self.secondary).get(CONTAINER)
        return None if found is None else ContainerId(found)

    @property
    def host(self) -> HostName | None:
        """The host whose agent gave it to that container."""
        found = dict(self.secondary).get(ON_HOST)
        return None if found is None else HostName(found)

    @property
    def runs(self) -> str:
        """Which task, or executor, that container is for by Mesos' word; empty if not known."""
        return dict(self.secondary).get(RUNS, "")

    def is_given_on(self, host: HostName) -> bool:
        """Whether our agent of that host gave it, to a container."""
        return OWNER in self.secondary and (ON_HOST, host) in self.secondary

    @property
    def unclaimed(self) -> bool:
        """Whether it is a container's that no task claimed yet.

        The handle alone does not tell: an app /cni has tasks of that form.
        """
        return self.container is not None and self.handle == handle_of_container(self.container)

    def is_of(self, handle: HandleId | None, given_on: HostName | None = None) -> bool:
        """Whether a handle holds it; with a host, as what its agent gave and no task claimed.

        Containers of two hosts may have one id, and share the handle of it.
        """
        if self.handle != handle:
            return False
        return given_on is None or (self.unclaimed and self.is_given_on(given_on))


@dataclass(frozen=True, slots=True)
class Block:
    """64 addresses: a /26 or a /122.

    `allocations` has one entry per ordinal. `unallocated` lists exactly the
    free ordinals, longest free first, so that an address rests before reuse.
    `unknown` are fields of other writers, as JSON: they stay when it is rewritten.
    """

    cidr: IPNetwork
    affinity: HostName | None
    allocations: tuple[Allocation | None, ...]
    unallocated: tuple[int, ...]
    strict: bool = False
    unknown: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IpamConfig:
    """The operator's choice for blocks; these are Calico's own defaults.

    `strict_affinity` keeps an address of one host's block from other hosts.
    """

    auto_allocate_blocks: bool = True
    strict_affinity: bool = False
