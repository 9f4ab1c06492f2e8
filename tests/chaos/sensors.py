"""`python -m tests.chaos.sensors SEED HOST=PID...`: watches every task of the cluster from inside.

Each leak, each address that two living tasks have, each that a living task has lost to
another one, and each task that a plugin was to attach and that runs without an address,
is told at once as a line of JSON. Each line of input is a word, and answered: `report`
with what happened since the last one, `clear` begins anew to note which pairs reach each
other, and `end TASK` kills one.
Sockets stay in the network namespace that they were made in, so that one
thread serves all tasks.
"""

from __future__ import annotations

import contextlib
import json
import random
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from demo.stories.matrix import Host, Sender, Task, is_open
from tests.chaos.flows import Flow, hurry
from tests.chaos.packets import Kind, is_leak, parse_arrival, render_packet, render_probe
from tests.chaos.watched import FLOW_PORT, PROBE_PORT, Watched, find, open_sender
from tests.cluster.flows import echo
from tests.kernel.sensors import PACKET_OUTGOING

EVERY = 0.05
#: Ticks between two looks at what tasks there are, and between two beats of a flow.
SCAN_TICKS, BEAT_TICKS = 6, 2
#: Pairs that the groups forbid and that are tried at every tick, for a while.
HOT_PAIRS, HOT_TICKS = 12, 100
#: Of all pairs, in turn, at every tick.
PAIRS = 16
#: An ended task's address is still tried, in case another one gets it.
GHOST_SECONDS = 150.0
LATE_SECONDS = 0.2

KINDS = tuple(Kind)

Act = Callable[[], None]


class Sensors:
    """Everything that is watched, in one loop."""

    def __init__(self, seed: int, hosts: Mapping[str, int]) -> None:
        self._chance = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, Watched] = {}
        self._task_by_name: dict[str, Task] = {}
        self._hosts = {Host(name): open_sender(pid) for name, pid in hosts.items()}
        self._ghosts: list[tuple[str, str, float]] = []
        self._flows: dict[str, Flow] = {}
        self._hot: list[tuple[Watched, Watched]] = []
        self._turn: Iterator[tuple[Watched, Watched]] = iter(())
        self._told: set[str] = set()
        self._reached: set[tuple[str, str]] = set()
        self._tick = 0
        self._tasks = Counter[str]()
        self._sent = self._arrived = self._forbidden = 0
        self._late = 0.0

    def serve(self) -> None:
        """Until the input ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                if now - due > LATE_SECONDS:
                    self._forgive(now - due)
                due = now + EVERY
                self._step()
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                if self._selector.get_map().get(key.fd) is not key:
                    # What came before it in the same turn has closed it.
                    continue
                if key.data is not None:
                    key.data()
                elif not (line := sys.stdin.readline()):
                    return
                else:
                    self._obey(*line.split())

    def _obey(self, word: str, task: str = "") -> None:
        if word == "report":
            _tell(self._report())
            return
        if word == "clear":
            self._reached.clear()
        for watched in self._watched.values():
            if watched.task.name == task:
                signal.pidfd_send_signal(watched.end, signal.SIGKILL)
        _tell({})

    def _step(self) -> None:
        self._tick += 1
        if self._tick % SCAN_TICKS == 0:
            self._scan()
        if self._tick % HOT_TICKS == 0:
            self._heat()
        self._send_probes()
        if self._tick % BEAT_TICKS == 0:
            for flow in list(self._flows.values()):
                flow.beat()
                if flow.failed:
                    self._drop_flow(flow)
            self._open_flows()

    def _scan(self) -> None:
        for found in list(find(set(self._watched))):
            try:
                watched = Watched.open(found)
            except OSError:
                continue
            self._tasks["attached" if found.attached else "found"] += 1
            self._watched[found.pid] = watched
            watched.look()
            if found.attached and watched.address is None and not watched.ended:
                self._violate(f"{found.task.name} was not attached, and runs")
            self._task_by_name[found.task.name] = found.task
            self._selector.register(watched.end, selectors.EVENT_READ, partial(self._end, watched))
            self._on_read(watched.sensor, partial(self._sense, watched))
            self._on_read(watched.server, partial(self._accept, watched))
        by_address: dict[str, str] = {}
        for watched in self._watched.values():
            name, before = watched.task.name, watched.address
            watched.look()
            if watched.address is None:
                continue
            if before not in (None, watched.address):
                self._violate(f"{name} had {before} and has {watched.address}")
            other = by_address.setdefault(watched.address, name)
            if other != name:
                self._violate(f"{other} and {name} both have {watched.address}")

    def _heat(self) -> None:
        pairs = [pair for pair in self._pairs() if is_leak(pair[0].task, pair[1].task)]
        self._hot = self._chance.sample(pairs, min(HOT_PAIRS, len(pairs)))

    def _pairs(self) -> list[tuple[Watched, Watched]]:
        all_of_them = list(self._watched.values())
        pairs = [(one, two) for one in all_of_them for two in all_of_them if one is not two]
        self._chance.shuffle(pairs)
        return pairs

    def _send_probes(self) -> None:
        for number, (source, target) in enumerate(self._hot):
            kind = KINDS[(self._tick + number) % len(KINDS)]
            self._probe(source, target.task.name, target.address, kind)
        if self._watched:
            target = self._chance.choice(list(self._watched.values()))
            for host, sender in self._hosts.items():
                self._probe_from(host, sender, target)
        for _ in range(PAIRS):
            pair = next(self._turn, None)
            if pair is None:
                self._turn = iter(self._pairs())
                self._haunt()
                return
            self._probe(pair[0], pair[1].task.name, pair[1].address)

    def _haunt(self) -> None:
        now = time.monotonic()
        self._ghosts = [ghost for ghost in self._ghosts if now - ghost[2] < GHOST_SECONDS]
        if self._watched:
            for name, address, _ in self._ghosts:
                self._probe(self._chance.choice(list(self._watched.values())), name, address)

    def _probe(
        self, source: Watched, name: str, address: str | None, kind: Kind | None = None
    ) -> None:
        if address is None or source.pid not in self._watched:
            return
        # No route, or no room: then nothing was sent.
        with contextlib.suppress(OSError):
            probe = render_probe(source.task.name, name, self._sent)
            if kind is None:
                source.probe.sendto(probe, (address, PROBE_PORT))
            elif source.address is not None:
                packet = render_packet(kind, source.address, address, probe)
                source.raw.sendto(packet, (address, 0))
            self._sent += 1
            receiver = self._task_by_name.get(name)
            self._forbidden += receiver is not None and is_leak(source.task, receiver)

    def _probe_from(self, host: Host, sender: socket.socket, target: Watched) -> None:
        if target.address is not None:
            with contextlib.suppress(OSError):
                probe = render_probe(host.name, target.task.name, self._sent)
                sender.sendto(probe, (target.address, PROBE_PORT))
                self._sent += 1
                self._forbidden += is_leak(host, target.task)

    def _sense(self, watched: Watched) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, (device, _, direction, *_) = watched.sensor.recvfrom(500)
                if direction == PACKET_OUTGOING or device == "lo":
                    continue
                arrival = parse_arrival(data)
                if arrival is None:
                    continue
                self._arrived += 1
                self._reached.add((arrival.source, watched.task.name))
                source = self._sender(arrival.source)
                if is_leak(source, watched.task):
                    self._violate(
                        f"LEAK: {source} reached {watched.task} at {watched.address};"
                        f" it was meant for {arrival.meant_for}"
                    )

    def _sender(self, name: str) -> Sender:
        return self._task_by_name[name] if name in self._task_by_name else Host(name)

    def _open_flows(self) -> None:
        for source in self._watched.values():
            if source.task.name in self._flows or source.address is None:
                continue
            partners = [
                target
                for target in self._watched.values()
                if target is not source
                and target.address is not None
                and is_open(source.task, target.task, FLOW_PORT)
            ]
            if partners:
                with contextlib.suppress(OSError):
                    flow = Flow.begin(source, self._chance.choice(partners), time.monotonic())
                    self._flows[source.task.name] = flow
                    self._on_read(flow.channel, partial(self._hear, flow))

    def _hear(self, flow: Flow) -> None:
        flow.hear()
        if flow.broken or (flow.opened is None and flow.tried == 0.0):
            self._unregister(flow.channel)

    def _accept(self, watched: Watched) -> None:
        with contextlib.suppress(OSError):
            channel, _ = watched.server.accept()
            # Its answers wait behind what was lost.
            hurry(channel)
            watched.accepted.add(channel)
            self._on_read(channel, partial(self._echo, watched, channel))

    def _echo(self, watched: Watched, channel: socket.socket) -> None:
        if not echo(channel):
            self._unregister(channel)
            watched.accepted.discard(channel)
            channel.close()

    def _end(self, watched: Watched) -> None:
        """Its process has ended: nothing of ours may keep its namespace."""
        for flow in list(self._flows.values()):
            if watched in (flow.source, flow.target):
                self._drop_flow(flow)
        # The other end may be cut off, so that nobody tells these of theirs.
        for each in (watched.end, watched.sensor, watched.server, *watched.accepted):
            self._unregister(each)
        if watched.address is not None:
            self._ghosts.append((watched.task.name, watched.address, time.monotonic()))
        del self._watched[watched.pid]
        self._hot = [pair for pair in self._hot if watched not in pair]
        watched.close()

    def _drop_flow(self, flow: Flow) -> None:
        self._unregister(flow.channel)
        flow.channel.close()
        self._flows.pop(flow.source.task.name, None)

    def _forgive(self, late: float) -> None:
        self._late = max(self._late, late)
        for flow in self._flows.values():
            flow.forgive(late)

    def _violate(self, text: str) -> None:
        # The same one is told once: what comes after it is known.
        mark = text.partition(";")[0]
        if mark not in self._told:
            self._told.add(mark)
            _tell({"violation": text, "at": time.monotonic()})

    def _report(self) -> dict[str, Any]:
        late, self._late = self._late, 0.0
        flows = [flow.report() for flow in self._flows.values()]
        for flow in [flow for flow in self._flows.values() if flow.broken]:
            self._drop_flow(flow)
        return {
            "at": time.monotonic(),
            "tasks": {
                each.task.name: [each.task.host, each.address, each.pid]
                for each in self._watched.values()
            },
            "seen": self._tasks,
            "sent": self._sent,
            "forbidden": self._forbidden,
            "arrived": self._arrived,
            "late": late,
            "flows": flows,
            "closed": self._closed(),
        }

    def _closed(self) -> list[str]:
        """The pairs that the groups allow and of which nothing has arrived, since it was asked."""
        return [
            f"{one.task.name} ({one.address}) -> {two.task.name} ({two.address})"
            for one in self._watched.values()
            for two in self._watched.values()
            if one is not two
            and is_open(one.task, two.task, PROBE_PORT)
            and (one.task.name, two.task.name) not in self._reached
        ]

    def _on_read(self, channel: socket.socket, act: Act) -> None:
        self._selector.register(channel, selectors.EVENT_READ, act)

    def _unregister(self, channel: socket.socket | int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(channel)


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    """Begin, say so, and go on until nobody asks any more."""
    print("ready", flush=True)
    hosts = dict(word.split("=") for word in sys.argv[2:])
    Sensors(int(sys.argv[1]), {name: int(pid) for name, pid in hosts.items()}).serve()


if __name__ == "__main__":
    main()
