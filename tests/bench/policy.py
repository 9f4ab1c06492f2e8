"""What a change of policy costs: one element, a whole host, the connections under way."""

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from netaddr import IPAddress

from calico.dataplane.changes import CommitTable
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.netlink.batches import NETLINK_NETFILTER, NetlinkSocket
from calico.dataplane.netlink.conntrack_wire import AF_INET, CT_NEW, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
from calico.dataplane.netlink.wire import Request, attribute
from calico.dataplane.render.host import RenderMemory, render_host
from calico.dataplane.state import HostState, NftSet
from reconciler.core.plan import plan_host
from reconciler.core.reaching.admitted import not_admitted
from tests.bench.clusters import PORT, Cluster, make_cluster
from tests.bench.hosts import give_underlay, run
from tests.bench.report import Figure, Line, figure
from tests.dataplane_worlds import CONFIG
from tests.kernel.namespaces import fresh_network

ENDPOINTS, MANY_ENDPOINTS = 1000, 10_000
CHANGES, TOOL_CHANGES = 200, 5
LOADS = 3
CONNECTIONS = 100_000
TRACK = "table inet tracked { chain input { type filter hook input priority 0; ct state new; }; }"
NLM_F_NEW = 0x604
CTA_STATUS, CTA_TIMEOUT, NESTED = 3, 7, 0x8000
UDP = 17
VERBS = ("add", "delete")
#: What Python tells its auditors of when a process is started.
STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"})


def measure() -> Iterator[Line]:
    """One element, all elements, all connections."""
    yield from _one_element(make_cluster(ENDPOINTS))
    yield from _whole_host(make_cluster(MANY_ENDPOINTS))
    yield from _connections(make_cluster(ENDPOINTS))


def table_of(cluster: Cluster, memory: RenderMemory | None = None) -> HostState:
    """What the table of a host should be, and nothing else of the host."""
    rendered = render_host(cluster.snapshot, CONFIG, memory).state
    return HostState(chains=rendered.chains, sets=rendered.sets)


def _one_element(cluster: Cluster) -> Iterator[Line]:
    """A member more and a member less of one tag, on a host with many."""
    with ExitStack() as stack:
        stack.enter_context(fresh_network())
        give_underlay()
        dataplane = KernelDataplane()
        stack.callback(dataplane.close)
        desired = table_of(cluster)
        dataplane.apply(plan_host(dataplane.observe(), desired, {}).plan)
        tag = next(each for name, each in desired.sets.items() if name.startswith("tag4"))
        more = replace(tag, elements=tag.elements | {"10.9.255.1"})
        started: list[str] = []
        sys.addaudithook(lambda name, _: started.append(name) if name in STARTS else None)
        adds, removals = [], []
        for _ in range(CHANGES):
            adds.append(_timed(dataplane, tag, more))
            removals.append(_timed(dataplane, more, tag))
        processes = len(started)
        yield figure(f"one element added, {ENDPOINTS} endpoints", adds, "ms", 0.5)
        yield figure("one element removed", removals, "ms", 0.5)
        yield Figure("processes started for it", processes, "", 0)
        name = f"inet marathon-calico {tag.name} {{ 10.9.255.1 }}"
        tool = [_tool(f"{verb} element {name}") for _ in range(TOOL_CHANGES) for verb in VERBS]
        yield Figure("one element added by `nft`", statistics.median(tool[::2]), "ms")
        yield Figure("one element removed by `nft`", statistics.median(tool[1::2]), "ms")


def _timed(dataplane: KernelDataplane, before: NftSet, after: NftSet) -> float:
    began = time.perf_counter()
    dataplane.apply((CommitTable(sets=(after,), previous_sets=(before,)),))
    return 1000 * (time.perf_counter() - began)


def _tool(text: str) -> float:
    began = time.perf_counter()
    run(["nft", "-f", "-"], text)
    return 1000 * (time.perf_counter() - began)


def _whole_host(cluster: Cluster) -> Iterator[Line]:
    """All policy of a host at once, in one transaction."""
    rendered, commits, reads = [], [], []
    for _ in range(LOADS):
        with ExitStack() as stack:
            stack.enter_context(fresh_network())
            give_underlay()
            dataplane = KernelDataplane()
            stack.callback(dataplane.close)
            observed = dataplane.observe()
            began = time.perf_counter()
            desired = table_of(cluster)
            rendered.append(time.perf_counter() - began)
            plan = plan_host(observed, desired, {}).plan
            began = time.perf_counter()
            dataplane.apply(plan)
            commits.append(time.perf_counter() - began)
            began = time.perf_counter()
            dataplane.observe()
            reads.append(time.perf_counter() - began)
    yield figure(f"policy of {MANY_ENDPOINTS} endpoints rendered anew", rendered, "s")
    yield figure(f"policy of {MANY_ENDPOINTS} endpoints loaded", commits, "s", 1)
    yield figure(f"policy of {MANY_ENDPOINTS} endpoints read back", reads, "s")


def _connections(cluster: Cluster) -> Iterator[Line]:
    """Every tracked connection read and judged, as when an agent starts."""
    with ExitStack() as stack:
        stack.enter_context(fresh_network())
        give_underlay()
        run(["nft", "-f", "-"], TRACK)
        dataplane = KernelDataplane()
        stack.callback(dataplane.close)
        addresses = [address for spec in cluster.specs for address in spec.addresses]
        _track(addresses, CONNECTIONS)
        began = time.perf_counter()
        found = dataplane.connections(addresses)
        read = time.perf_counter() - began
        began = time.perf_counter()
        refused = not_admitted(found, cluster.snapshot, CONFIG)
        judged = time.perf_counter() - began
        began = time.perf_counter()
        dataplane.forget(refused)
        forgotten = time.perf_counter() - began
        yield Figure(f"{len(found)} tracked connections read", read, "s")
        yield Figure(f"{len(found)} tracked connections judged", judged, "s")
        yield Figure(f"{len(refused)} tracked connections forgotten", forgotten, "s")


def _track(addresses: Sequence[IPAddress], count: int) -> None:
    """Put connections between tasks into the kernel's table."""
    packed = [address.packed for address in addresses]
    requests = []
    for number in range(count):
        source = packed[number % len(packed)]
        target = packed[(number * 7 + 1) % len(packed)]
        port = (1024 + number // len(packed)).to_bytes(2, "big")
        there = PORT.to_bytes(2, "big")
        body = bytes((AF_INET, 0, 0, 0))
        body += _direction(CTA_TUPLE_ORIG, source, target, port, there)
        body += _direction(CTA_TUPLE_REPLY, target, source, there, port)
        body += attribute(CTA_STATUS, (0xA).to_bytes(4, "big"))
        body += attribute(CTA_TIMEOUT, (600).to_bytes(4, "big"))
        requests.append(Request("track", CT_NEW, NLM_F_NEW, body))
    with NetlinkSocket(protocol=NETLINK_NETFILTER) as kernel:
        refusals = [each for each in kernel.transact(requests) if each is not None]
    if refusals:
        raise RuntimeError(refusals[0].reason)


def _direction(kind: int, source: bytes, target: bytes, port: bytes, there: bytes) -> bytes:
    ends = attribute(1, source) + attribute(2, target)
    ports = attribute(1, bytes((UDP,))) + attribute(2, port) + attribute(3, there)
    return attribute(kind | NESTED, attribute(1 | NESTED, ends) + attribute(2 | NESTED, ports))
