"""One controller: stands by for the lease, then runs the loop until it is lost."""

import logging
import os
import secrets
import socket
import sys
import threading
from contextlib import ExitStack
from functools import partial

from calico.errors import UnknownSchema
from calico.keys import CLUSTER
from marathon_client.client import MarathonClient
from marathon_client.scaling import ScalingClient
from marathon_client.stream import EventStream
from reconciler.controller.leadership import Leadership, ProcessContext
from reconciler.controller.marathon.agents_scaler import AgentsScaler
from reconciler.controller.marathon.hints import subject
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.scheduling.intake import Message
from reconciler.controller.settings import ControllerSettings
from reconciler.core.removal.held import told
from reconciler.runtime.clock import Clock, SystemClock, random_fraction
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.listener import Listener, Page
from reconciler.runtime.signals import stopped_by_signals
from reconciler.runtime.threads import start_thread

log = logging.getLogger(__name__)

#: Seconds that one step may take before the controller no longer counts as alive.
STALLED_AFTER = 120.0
#: Resync intervals after which a leader without a complete list is not ready.
STALE_RESYNCS = 3


class Controller:
    """One controller's process: its pages, its threads, its turn; `run` blocks until the end."""

    def __init__(self, settings: ControllerSettings, clock: Clock, stop: threading.Event) -> None:
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._metrics = ControllerMetrics()
        self._inbox: Inbox[Message] = Inbox(subject)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stream = EventStream(
            settings.marathon, settings.marathon_credentials, tls=settings.marathon_tls
        )
        self._client = MarathonClient(
            settings.marathon, settings.marathon_credentials, tls=settings.marathon_tls
        )
        context = ProcessContext(
            self._inbox,
            start_thread,
            stop,
            clock,
            random_fraction,
            self._stream.reconnect,
            self._metrics,
        )
        self._turn = Leadership(settings, self._client, self._holder, context)
        self._metrics.follow(self._resync_age, lambda: self._stream.stats, lambda: self._turn.holds)

    def run(self) -> int:
        """Serve pages, win the lease, work; the exit code when it ends."""
        pages = {"/healthz": self._health, "/readyz": self._ready, "/leader": self._leader}
        with ExitStack() as stack:
            listener = Listener(self._settings.listen, pages, self._metrics.registry)
            try:
                stack.enter_context(listener)
            except OSError as error:
                message = f"cannot listen on {self._settings.listen}: {error.strerror}"
                print(f"marathon-calico controller: {message}", file=sys.stderr)
                return 2
            print(listener.announcement("controller"), flush=True)
            if not self._turn.stand_by():
                return 0
            try:
                return self._lead()
            except UnknownSchema as error:
                print(f"marathon-calico controller: {CLUSTER}: {error}", file=sys.stderr)
                return 2

    def _lead(self) -> int:
        token = self._turn.token
        log.info("lease won", extra={"token": token, "holder": self._holder})
        self._metrics.leader.set(1)
        start_thread("events", self._follow_events)
        start_thread("stop", self._cut_on_stop)
        self._scale_agents()
        try:
            stopped = self._turn.lead()
        finally:
            self._stream.stop()
        if stopped:
            return 0
        # Whoever started us starts us again, as a standby with a clean slate.
        log.error("lease lost", extra={"token": token})
        return 1

    def _scale_agents(self) -> None:
        settings = self._settings
        if settings.scale_agents is None:
            return
        client = ScalingClient(
            settings.marathon,
            settings.mesos_masters,
            credentials=settings.marathon_credentials,
            masters_credentials=settings.mesos_credentials,
            tls=settings.marathon_tls,
        )
        scaler = AgentsScaler(
            settings.scale_agents, client, lambda: self._turn.leads, self._clock, self._metrics
        )
        start_thread("agents", partial(scaler.run, self._stop))

    def _cut_on_stop(self) -> None:
        """A Marathon that hangs must not hold up the end."""
        self._stop.wait()
        self._client.close()

    def _follow_events(self) -> None:
        for item in self._stream:
            self._metrics.events.labels(type(item).__name__).inc()
            self._inbox.post(item)

    def _health(self) -> Page:
        idle = self._clock.monotonic() - self._turn.last_step
        return Page(idle < STALLED_AFTER, {"seconds_since_step": round(idle, 1)})

    def _ready(self) -> Page:
        """Whether it does its work, or stands by able to take it over."""
        leads, age = self._turn.leads, self._resync_age()
        reason = self._turn.trouble
        if leads and not reason:
            standing = self._turn.standing
            if self._turn.blocked:
                reason = self._turn.blocked
            elif not standing.opened:
                reason = standing.waits
            elif self._turn.last_resync is None:
                reason = "no complete list of Marathon yet"
            elif age > STALE_RESYNCS * self._settings.resync:
                reason = f"the last complete list of Marathon is {age:.0f} s old"
        # What is held waits for an operator, and for nothing that a restart would do.
        holds = list(map(told, self._turn.holds)) if leads else []
        return Page(not reason, {"leads": leads, "reason": reason, "holds": holds})

    def _resync_age(self) -> float:
        last = self._turn.last_resync
        return float("nan") if last is None else self._clock.monotonic() - last

    def _leader(self) -> Page:
        return Page(self._turn.leads, {"holder": self._holder, "token": self._turn.token})


def run_controller(settings: ControllerSettings) -> int:
    """Run one controller until it is told to stop or loses its lease."""
    stop = threading.Event()
    with stopped_by_signals(stop.set):
        return Controller(settings, SystemClock(), stop).run()
