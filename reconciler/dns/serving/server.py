"""The one thread that answers questions and takes changes in, in turn."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from selectors import EVENT_READ, DefaultSelector

from calico.datastore.api import Key
from reconciler.dns.answers import Answers
from reconciler.dns.metrics import DnsMetrics
from reconciler.dns.names import Name
from reconciler.dns.serving.access import Access
from reconciler.dns.serving.datagrams import Datagrams
from reconciler.dns.serving.query_handler import QueryHandler
from reconciler.dns.serving.sockets import Channel
from reconciler.dns.serving.streams import Streams
from reconciler.dns.serving.upstream import Upstream
from reconciler.dns.world import World
from reconciler.dns.zone import Zone
from reconciler.runtime.clock import Clock
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.listener import ListenAddress, Page
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable

log = logging.getLogger(__name__)

#: Seconds that changes may keep questions waiting.
SLICE = 0.002
#: Seconds between two looks at what stands still.
TICK = 0.1
#: Seconds without a turn after which the server is not healthy.
STUCK_AFTER = 30.0


class NameServer:
    """Serves one zone; `post` and the pages are for other threads."""

    def __init__(
        self,
        zone: Zone,
        world: World,
        answers: Answers,
        access: Access,
        resolvers: tuple[ListenAddress, ...],
        metrics: DnsMetrics,
        clock: Clock,
        forwards: tuple[ListenAddress, ...] = (),
    ) -> None:
        """`resolvers` are asked about other names, `forwards` about the zone's unknown ones."""
        self._zone = zone
        self._world = world
        self._answers = answers
        self._access = access
        self._resolvers = resolvers
        self._forwards = forwards
        self._metrics = metrics
        self._clock = clock
        self._inbox: Inbox[FeedMessage] = Inbox()
        self._backlog: deque[Iterator[None]] = deque()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._unreachable: dict[Key, str] = {}
        self._last_turn = clock.monotonic()
        self._was_complete = False
        self._tell_answers()
        metrics.follow("names", lambda: zone.names)
        metrics.follow("tasks", lambda: zone.tasks)
        metrics.follow("unreachable", lambda: bool(self._unreachable))

    def post(self, message: FeedMessage) -> None:
        """Hand over what a feed saw; from any thread."""
        self._inbox.post(message)
        self.wake()

    def wake(self) -> None:
        """End the wait for questions; from any thread, and from signal handlers."""
        os.eventfd_write(self._waker, 1)

    def run(self, channels: Sequence[Channel], stop: threading.Event) -> None:
        """Answer until told to stop; whoever sets `stop` wakes as well."""
        handler = QueryHandler(self._answers, self._access, self._metrics)
        with DefaultSelector() as selector:
            upstream = Upstream(self._resolvers_of, selector, self._clock, handler.fail)
            streams = []
            for each in channels:
                Datagrams(each.datagrams, selector, handler, upstream)
                streams.append(Streams(each.streams, selector, handler, upstream, self._clock))
            self._metrics.follow("connections", lambda: sum(map(len, streams)))
            self._metrics.follow("under_way", lambda: len(upstream))
            selector.register(self._waker, EVENT_READ, self._take)
            next_look = 0.0
            while not stop.is_set():
                for key, events in selector.select(0 if self._backlog else TICK):
                    self._serve(key.data, events)
                self._work()
                now = self._last_turn = self._clock.monotonic()
                if now >= next_look:
                    next_look = now + TICK
                    upstream.expire()
                    for listener in streams:
                        listener.expire()
            for listener in streams:
                listener.close()
            upstream.close()

    def health(self) -> Page:
        """Whether the thread goes on."""
        idle = self._clock.monotonic() - self._last_turn
        return Page(idle < STUCK_AFTER, {"seconds_since_turn": round(idle, 1)})

    def readiness(self) -> Page:
        """Whether names are served; what the datastore said last counts also without it."""
        reason = next(iter(tuple(self._unreachable.values())), "")
        ready = self._was_complete
        if not ready and not reason:
            reason = "not all of the datastore was read yet"
        return Page(ready, {"names": self._zone.names, "reason": reason, "tasks": self._zone.tasks})

    @staticmethod
    def _serve(ready: Callable[[int], None], events: int) -> None:
        try:
            ready(events)
        except Exception:
            # One message that meets a defect must not take all names away.
            log.exception("defect while serving")

    def _take(self, _events: int) -> None:
        os.eventfd_read(self._waker)
        self._backlog.extend(map(self._steps, self._inbox.drain(0.0)))

    def _steps(self, message: FeedMessage) -> Iterator[None]:
        """What a message brings, in pieces."""
        match message:
            case Loaded(prefix, listing):
                self._reached(prefix)
                yield from self._world.load(prefix, listing)
            case Changed(prefix, event):
                self._reached(prefix)
                self._world.apply(prefix, event)
            case Unreachable(prefix, reason):
                if not self._unreachable:
                    log.warning(
                        "datastore not reached; names stay as they are", extra={"why": reason}
                    )
                self._unreachable[prefix] = reason

    def _tell_answers(self) -> None:
        self._answers.update(
            self._world.pools,
            complete=self._world.complete,
            recursive=bool(self._resolvers),
            forwarding=bool(self._forwards),
        )

    def _resolvers_of(self, name: Name) -> tuple[ListenAddress, ...]:
        return self._forwards if self._zone.covers(name) else self._resolvers

    def _reached(self, prefix: Key) -> None:
        if self._unreachable.pop(prefix, None) is not None and not self._unreachable:
            log.info("datastore reached again")

    def _work(self) -> None:
        """Take changes in, as long as questions can wait."""
        if not self._backlog:
            return
        end = self._clock.monotonic() + SLICE
        while self._backlog and self._clock.monotonic() < end:
            for _ in self._backlog[0]:
                if self._clock.monotonic() >= end:
                    break
            else:
                self._backlog.popleft()
        self._tell_answers()
        if self._world.take_moved():
            self._access.update(self._world.pools, self._world.host_addresses)
        if self._world.complete and not self._was_complete:
            self._was_complete = True
            log.info("names complete", extra={"tasks": self._zone.tasks})
