"""What one host's kernel should hold, from the datastore's state: pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netaddr import IPNetwork

from calico.dataplane.render.addresses import plan_addresses
from calico.dataplane.render.endpoints import Candidate, judge_endpoints
from calico.dataplane.render.memory import ChainMemory, PartMemory
from calico.dataplane.render.routes import RouteMemory, render_routes
from calico.dataplane.render.table import Member, render_table
from calico.dataplane.state import RULE_PREFERENCES, HostConfig, HostState, MarkRule, Route
from calico.model import EndpointId, HostName, Snapshot

#: How many of the blocks that are not routed are told by name.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Rendered:
    """A host's wanted state, and what of the datastore's could not be had.

    An endpoint in `endpoint_problems` is closed: wholly if it has no link in
    `state`, else from the profile on that its problem names.
    """

    state: HostState
    endpoint_problems: Mapping[EndpointId, str]
    host_problems: tuple[str, ...]


class RenderMemory:
    """What `render_host` may keep from one call to the next, for one host."""

    def __init__(self) -> None:
        self.candidates: PartMemory[Candidate] = PartMemory()
        self.members: PartMemory[Member] = PartMemory()
        self.chains = ChainMemory()
        self.routes = RouteMemory()


def render_host(
    snapshot: Snapshot, config: HostConfig, memory: RenderMemory | None = None
) -> Rendered:
    """All that this host should hold; what is in doubt is left closed.

    A `memory` that is kept from call to call makes it faster, not different.
    Settings of single links are not in `sysctls`: whoever makes a link sets
    them, since they vanish with it.
    """
    memory = memory or RenderMemory()
    plan = plan_addresses(snapshot.pools, config)
    opened, closed = judge_endpoints(snapshot, config, plan, memory.candidates)
    table = render_table(snapshot, config, plan, opened, memory.chains, memory.members)
    routes = render_routes(snapshot, config, plan, opened, memory.routes)
    versions = _versions(routes)
    state = HostState(
        links={endpoint.interface: endpoint.link for endpoint in opened},
        routes=routes,
        mark_rules=frozenset(_mark_rules(config, versions)),
        chains=table.chains,
        sets=table.sets,
        sysctls=_sysctls(config, versions),
    )
    problems = {**closed, **table.problems}
    host_problems = (
        *(reason for _, reason in plan.refused),
        *_unpooled(memory.routes.blocks(snapshot, config, plan).unpooled),
        *_own_interfaces(snapshot, config),
    )
    return Rendered(state, problems, host_problems)


def _unpooled(blocks: Sequence[tuple[IPNetwork, HostName]]) -> Iterator[str]:
    """One sentence, since a pool that was deleted may leave a block of each host behind."""
    if not blocks:
        return
    named = ", ".join(f"{block} of {host}" for block, host in blocks[:NAMED])
    more = f" and {len(blocks) - NAMED} more" if len(blocks) > NAMED else ""
    yield (
        f"in no pool, so only the addresses of tasks in it are routed: block {named}{more}; "
        "give it a pool, or delete it"
    )


def _own_interfaces(snapshot: Snapshot, config: HostConfig) -> Iterable[str]:
    """What Felix would do to the host itself, and nobody does here."""
    for endpoint in sorted(snapshot.host_endpoints):
        if endpoint.host == config.host:
            yield (
                f"host endpoint {endpoint.endpoint} is not enforced: "
                "this agent guards tasks, not the host's own interfaces"
            )


def _versions(routes: Iterable[Route]) -> tuple[int, ...]:
    """IPv4 always, IPv6 if there is a pool of it, or tasks of one that was deleted."""
    return (4, 6) if any(route.destination.version == 6 for route in routes) else (4,)


def _mark_rules(config: HostConfig, versions: Iterable[int]) -> Iterable[MarkRule]:
    """Marked packets, and the host's own, look into the table of task routes."""
    marked, own = RULE_PREFERENCES
    for version in versions:
        yield MarkRule(version, marked, config.mark)
        yield MarkRule(version, own, None)


def _sysctls(config: HostConfig, versions: Sequence[int]) -> Mapping[str, str]:
    settings = {
        "net/ipv4/ip_forward": "1",
        # Without it the reverse path check looks for a task's route unmarked,
        # finds the blackhole, and drops what tasks of other hosts send.
        f"net/ipv4/conf/{config.underlay}/src_valid_mark": "1",
    }
    if 6 in versions:
        settings["net/ipv6/conf/all/forwarding"] = "1"
    return settings
