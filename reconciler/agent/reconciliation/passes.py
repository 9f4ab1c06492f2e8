"""What goes into a pass and what comes out of it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netaddr import IPAddress

from calico.dataplane.api import Noticed
from calico.dataplane.changes import Plan
from calico.dataplane.foreign.rules import ForeignRules
from calico.dataplane.state import MARK, HostConfig, HostFacts
from calico.model import (
    Attachment,
    BootId,
    EndpointId,
    EndpointStatus,
    HostName,
    PortRange,
    Protected,
    TaskId,
)
from reconciler.agent.attachments.block_writes import BlockRefused, BlockWritten
from reconciler.agent.attachments.requests import AttachMessage
from reconciler.agent.belief import View
from reconciler.agent.locators.api import LocatorName, Search
from reconciler.agent.state_file import StateWritten
from reconciler.agent.vouching import LeaderSeen
from reconciler.runtime.watchfeed import Bookmark, FeedMessage


@dataclass(frozen=True, slots=True)
class KernelChanged:
    """Somebody may have changed something of ours in the kernel."""

    noticed: Noticed = field(default_factory=lambda: Noticed(foreign=True))


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What other programs on the host filter by, as it is now."""

    foreign: ForeignRules


@dataclass(frozen=True, slots=True)
class ContainersChanged:
    """Containers may have started or died on this host."""


AgentMessage = (
    FeedMessage
    | Bookmark
    | Search
    | KernelChanged
    | Surveyed
    | ContainersChanged
    | LeaderSeen
    | StateWritten
    | AttachMessage
    | BlockWritten
    | BlockRefused
)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What an agent's flags say about its host."""

    host: HostName
    boot_id: BootId
    address: IPAddress | None = None
    mark: int = MARK
    host_ports: tuple[PortRange, ...] = ()
    protected: tuple[Protected, ...] = ()
    route_to_hosts: bool = True
    locators: tuple[LocatorName, ...] = ()


def host_config(settings: HostSettings, facts: HostFacts) -> HostConfig:
    """What is rendered for: the flags, and what the host has of its own."""
    return HostConfig(
        host=settings.host,
        address=facts.address,
        mtu=facts.mtu,
        underlay=facts.interface,
        mark=settings.mark,
        host_ports=settings.host_ports,
        protected=settings.protected,
        route_to_hosts=settings.route_to_hosts,
        networks=facts.networks,
    )


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to; `statuses` None means that nothing can be said yet.

    `settled` is whether the kernel was left as the datastore asks, but for
    tasks that have no namespace yet. `why_not_attached` is why no container is
    given an address and wired, empty if it would be.
    """

    view: View
    address: IPAddress | None = None
    others: tuple[IPAddress, ...] = ()
    statuses: Mapping[EndpointId, EndpointStatus] | None = None
    revision: int = 0
    gone: tuple[TaskId, ...] = ()
    problems: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    changes: Plan = ()
    settled: bool = False
    why_not_attached: str = ""
    looked: bool = False
