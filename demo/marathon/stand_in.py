"""One whole Marathon: in this process, on sockets of its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.marathon.agents import MesosAgent
from demo.marathon.core.cluster import Cluster
from demo.marathon.core.state import StateFile, timestamp
from demo.marathon.definitions.commands import CommandRule, own_programs
from demo.marathon.era import DEFAULT_ERA, Era
from demo.marathon.faults import Faults
from demo.marathon.loop import Loop
from demo.marathon.replies.events import Event
from demo.marathon.serving.server import ApiServer, Site, open_listener
from demo.marathon.serving.stream import Cut, Hub
from demo.mesos.records import HostName, Json

HEARTBEAT_SECONDS = 10.0


class StandIn:
    """Marathon for as long as the `with` lasts; its agents and their tasks live on."""

    def __init__(
        self,
        agents: Mapping[str, MesosAgent],
        listeners: Sequence[socket.socket] = (),
        state_file: Path | None = None,
        era: Era = DEFAULT_ERA,
        heartbeat: float = HEARTBEAT_SECONDS,
        rule: CommandRule = own_programs,
        leader: str | None = None,
        names: Collection[str] = (),
        faults_allowed: bool = True,
        event_buffer: int | None = None,
        default_network: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.faults = Faults()
        self._agents = {HostName(name): agent for name, agent in agents.items()}
        self._listeners = list(listeners)
        self._file = StateFile(state_file)
        self._era = era
        self._heartbeat = heartbeat
        self._rule = rule
        self._leader = leader
        self._names = frozenset(names)
        self._default_network = default_network
        self._faults_allowed = faults_allowed
        self._now = now
        self._hub = Hub(era, self.faults, lambda: timestamp(now()), event_buffer)
        self._loop: Loop | None = None
        self._servers: list[ApiServer] = []
        self.address = ""

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://{self.address}"

    def start(self) -> None:
        """Load the state, reconcile with the agents, answer requests."""
        listeners = self._listeners or [open_listener("127.0.0.1", 0)]
        host, port = listeners[0].getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        cluster = Cluster(
            self._file.load(),
            list(self._agents),
            self._era,
            self._rule,
            default_network=self._default_network,
        )
        self._loop = Loop(cluster, self._file, self._hub, self._agents, self._now)
        self._loop.start()
        site = Site(
            loop=self._loop,
            hub=self._hub,
            faults=self.faults,
            era=self._era,
            leader=self._leader or self.address,
            heartbeat=self._heartbeat,
            names=self._names,
            faults_allowed=self._faults_allowed,
        )
        for listener in listeners:
            server = ApiServer(listener)
            server.begin(site)
            self._servers.append(server)

    def stop(self) -> None:
        """End as a leader that steps down: close the streams, then the sockets."""
        for server in self._servers:
            server.shutdown()
        self._hub.end_all(Cut.NOW)
        if self._loop is not None:
            self._loop.stop()
        for server in self._servers:
            server.server_close()
        self._servers.clear()

    def send(self, name: str, body: Json) -> None:
        """An event that this version does not have goes to every open stream."""
        self._hub.publish(Event(name, body, body))

    def cut_streams(self, how: Cut = Cut.NOW) -> None:
        """End every open stream once."""
        self._hub.end_all(how)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
