"""What a packet costs: established, new, by the number of endpoints.

Every variant is a host of its own with two tasks, all loaded at once. Each
round measures all of them in another order, and a ratio is that of one round.
The tasks are in four groups each, share the last of them only, and are in the
middle of every list, so that theirs is the longest way.
"""

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from netaddr import IPAddress

from calico.model import EndpointSpec
from tests.bench import felix
from tests.bench.clusters import PORT, Cluster, make_cluster
from tests.bench.generator import Generator
from tests.bench.hosts import (
    FORGET_CLOSED,
    bring_about,
    check_reverse_paths,
    run,
    wire_by_hand,
)
from tests.bench.report import Figure, Grid, Line, Remark, Unavailable, figure, median
from tests.kernel.namespaces import Namespace

ROUNDS, STREAM_ROUNDS = 5, 5
STREAM_SECONDS = "1"
SIZES = {10: "10", 1000: "1k", 10_000: "10k"}
PLAIN, AGAIN, TRACKED, OURS = "unfiltered", "unfiltered, again", "conntrack only", "ours"
ROUTED = "conntrack and routing rules only"
PEERS = {"Felix's tree, legacy": "legacy", "Felix's tree, iptables-nft": "nft"}
NEW, KNOWN, CONNECTIONS, TRIPS = "new UDP", "known UDP", "TCP connections", "round trips"
TRACK = (
    "table inet tracked { chain forward { type filter hook forward priority 0; policy accept; "
    "ct state vmap { established : accept, related : accept, invalid : drop }; }; }"
)

Tasks = Mapping[EndpointSpec, Namespace]
Load = Callable[[Namespace, Namespace, IPAddress, int], float]
#: Rates of each round, by variant and load.
Rates = dict[tuple[str, str], list[float]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One host with two tasks, and how long its rules took to load."""

    name: str
    source: Namespace
    target: Namespace
    address: IPAddress
    seconds: float


def measure() -> Iterator[Line]:
    """Load all variants, measure them in turn, hold ours against the others."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        generator = Generator(directory)
        loads: Mapping[str, Load] = {
            NEW: generator.new_datagrams,
            KNOWN: generator.known_datagrams,
            CONNECTIONS: generator.connections,
            TRIPS: generator.round_trips,
        }
        variants = []
        for name, cluster, prepare in _variants(directory):
            try:
                variants.append(_start(stack, name, cluster, prepare))
            except Unavailable as error:
                yield Remark(f"not measured: {name}: {error}")
        rates = _rounds(variants, loads)
        yield Grid(
            "packets per core, of unfiltered",
            [*loads, "load s"],
            [
                (
                    each.name,
                    [*(median(_of(rates, each.name, PLAIN, load)) for load in loads), each.seconds],
                )
                for each in variants
            ],
        )
        yield from _promises(rates)
        yield from _stream(variants)


def ours(size: int) -> str:
    """What our variant of a size is called."""
    return f"{OURS}, {SIZES[size]}"


def _variants(
    directory: Path,
) -> Iterator[tuple[str, Cluster, Callable[[Cluster, Tasks], None]]]:
    def by_hand(prepare: Callable[[Cluster], None]) -> Callable[[Cluster, Tasks], None]:
        def begin(cluster: Cluster, tasks: Tasks) -> None:
            wire_by_hand(tasks)
            prepare(cluster)

        return begin

    clusters = {size: make_cluster(size) for size in SIZES}
    smallest = clusters[min(SIZES)]
    yield PLAIN, smallest, by_hand(lambda _: None)
    yield AGAIN, smallest, by_hand(lambda _: None)
    yield TRACKED, smallest, by_hand(lambda _: _track())
    yield ROUTED, smallest, by_hand(_route_by_rules)
    for size, cluster in clusters.items():
        yield ours(size), cluster, bring_about
        for name, kind in PEERS.items():

            def prepare(given: Cluster, kind: str = kind) -> None:
                check_reverse_paths(spec.interface for spec in given.pair)
                felix.load(given, kind, directory)

            yield f"{name}, {SIZES[size]}", cluster, by_hand(prepare)


def _track() -> None:
    run(["nft", "-f", "-"], TRACK)


def _route_by_rules(cluster: Cluster) -> None:
    """What we add to conntrack so that a lost table leaves tasks closed, and no more."""
    _track()
    check_reverse_paths(spec.interface for spec in cluster.pair)
    run(["ip", "rule", "add", "pref", "100", "fwmark", "0x10000", "table", "80"])


def _start(
    stack: ExitStack, name: str, cluster: Cluster, prepare: Callable[[Cluster, Tasks], None]
) -> Variant:
    host, source, target = (Namespace.start() for _ in range(3))
    for each in (host, source, target):
        stack.callback(each.end)
    one, other = cluster.pair
    with host.entered():
        began = perf_counter()
        prepare(cluster, {one: source, other: target})
        seconds = perf_counter() - began
        if FORGET_CLOSED.exists():
            FORGET_CLOSED.write_text("1")
    return Variant(name, source, target, other.addresses[0], seconds)


def _rounds(variants: Sequence[Variant], loads: Mapping[str, Load]) -> Rates:
    rates: Rates = {(each.name, load): [] for each in variants for load in loads}
    everywhere = os.sched_getaffinity(0)
    # One core, so that what a packet costs is spent where it is counted.
    os.sched_setaffinity(0, {max(everywhere)})
    try:
        for _ in range(ROUNDS):
            for name, load in loads.items():
                for each in random.sample(variants, len(variants)):
                    rates[each.name, name].append(
                        load(each.source, each.target, each.address, PORT)
                    )
    finally:
        os.sched_setaffinity(0, everywhere)
    return rates


def _of(rates: Rates, name: str, reference: str, load: str) -> list[float]:
    """One variant's rates as shares of another's, round by round."""
    pairs = zip(rates[name, load], rates[reference, load], strict=True)
    return [one / other for one, other in pairs]


def _promises(rates: Rates) -> Iterator[Figure]:
    small, large = ours(10), ours(10_000)
    legacy, through_nft = (f"{name}, 10k" for name in PEERS)
    asked = (
        (KNOWN, AGAIN, PLAIN, None, "(what is noise)"),
        (KNOWN, large, PLAIN, 0.85, ""),
        (KNOWN, large, TRACKED, 0.97, ""),
        (KNOWN, large, ROUTED, None, ""),
        (KNOWN, large, small, 0.95, ""),
        (NEW, large, small, 0.95, ""),
        (TRIPS, large, small, 0.95, ""),
        (CONNECTIONS, large, small, 0.90, ""),
        (CONNECTIONS, large, PLAIN, 0.75, ""),
        (CONNECTIONS, large, legacy, 1.05, ""),
        (CONNECTIONS, large, through_nft, 1.3, ""),
    )
    for load, name, reference, least, remark in asked:
        if (reference, load) in rates:
            words = f"{load}: {name}, of {reference} {remark}".rstrip()
            yield figure(words, _of(rates, name, reference, load), "x", least=least)


def _stream(variants: Sequence[Variant]) -> Iterator[Line]:
    """One TCP stream by iperf3, whose segments are large."""
    wanted = (PLAIN, ours(10_000), f"{next(iter(PEERS))}, 10k")
    measured = [each for each in variants if each.name in wanted]
    rates: dict[str, list[float]] = {each.name: [] for each in measured}
    try:
        for _ in range(STREAM_ROUNDS):
            for each in random.sample(measured, len(measured)):
                rates[each.name].append(_gigabits(each))
    except FileNotFoundError:
        yield Remark("not measured: one TCP stream: install iperf3")
        return
    for name, values in rates.items():
        if name != PLAIN:
            ratios = [one / other for one, other in zip(values, rates[PLAIN], strict=True)]
            least = 0.92 if name.startswith(OURS) else None
            yield figure(f"one TCP stream: {name}, of {PLAIN}", ratios, "x", least=least)


def _gigabits(variant: Variant) -> float:
    inside = ["nsenter", f"--net=/proc/{variant.target.pid}/ns/net"]
    with subprocess.Popen(
        [*inside, "iperf3", "-s", "-1", "-p", str(PORT), "--forceflush"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        # Lines end when the server does, so that a failed start does not hang.
        if not any("listening" in line for line in iter(server.stdout.readline, "")):
            raise RuntimeError("iperf3 did not start to listen")
        outside = ["nsenter", f"--net=/proc/{variant.source.pid}/ns/net"]
        command = ["iperf3", "-c", str(variant.address), "-p", str(PORT), "-t", STREAM_SECONDS]
        done = subprocess.run(
            [*outside, *command, "-J"], capture_output=True, text=True, check=True
        )
        server.wait(10)
    received: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return received / 1e9
