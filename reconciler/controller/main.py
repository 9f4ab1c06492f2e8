"""One controller: stands by for the lease, then runs the loop until it is lost."""

import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from calico.errors import CalicoError, DatastoreError
from calico.keys import APPLIED, HOSTS, LEADER, POOLS
from marathon_client.client import MarathonClient
from marathon_client.scaling import ScalingClient
from marathon_client.stream import EventStream
from reconciler.controller.agents_scaler import AgentsScaler
from reconciler.controller.allow_from import AllowFrom
from reconciler.controller.bootstrap import bootstrap
from reconciler.controller.loop import ControllerLoop, Message, Outlook, Stopped
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.settings import ControllerSettings
from reconciler.controller.stored import StoredState
from reconciler.core.tasks.profiles import NetworkPolicy
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.complaint import Complaint
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.lease import RENEW_EVERY, FencedDatastore, Lease, LeaseLost
from reconciler.runtime.listener import Listener, Page
from reconciler.runtime.signals import stopped_by_signals
from reconciler.runtime.threads import start_thread
from reconciler.runtime.watchfeed import WatchFeed, full_jitter

log = logging.getLogger(__name__)

#: Seconds that one step may take before the controller no longer counts as alive.
STALLED_AFTER = 120.0
#: Seconds that the end waits for a renewal which is under way.
LEASE_PATIENCE = 2.0
#: Resync intervals after which a leader without a complete list is not ready.
STALE_RESYNCS = 3


class Controller:
    """Wires feeds, lease and loop together; `run` blocks until the end."""

    def __init__(self, settings: ControllerSettings, clock: Clock, stop: threading.Event) -> None:
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._metrics = ControllerMetrics()
        self._inbox: Inbox[Message] = Inbox()
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease = Lease(settings.open_datastore(), LEADER, holder, clock)
        self._holder = holder
        self._last_step = clock.monotonic()
        self._last_resync: float | None = None
        #: Why the datastore does not serve at the moment.
        self._trouble = ""
        self._stream = EventStream(
            settings.marathon, settings.marathon_credentials, tls=settings.marathon_tls
        )
        self._metrics.follow(self._resync_age, lambda: self._stream.stats)

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
            if not self._stand_by():
                return 0
            log.info("lease won", extra={"token": self._lease.token, "holder": self._holder})
            self._metrics.leader.set(1)
            return self._lead()

    def _stand_by(self) -> bool:
        """Wait for the lease; False if told to stop before."""
        complaint = Complaint(log, "standing by")
        while not self._stop.is_set():
            self._last_step = self._clock.monotonic()
            try:
                if self._lease.keep():
                    self._trouble = ""
                    return True
                self._trouble = ""
                complaint.tell("another controller leads")
            except DatastoreError as error:
                self._trouble = str(error)
                complaint.tell(str(error))
            self._stop.wait(RENEW_EVERY)
        return False

    def _lead(self) -> int:
        settings = self._settings
        datastore = FencedDatastore(settings.open_datastore(self._lease.insist), self._lease)
        stored = StoredState()
        policy = NetworkPolicy(settings.networks, settings.ports_declared)
        client = MarathonClient(
            settings.marathon, settings.marathon_credentials, tls=settings.marathon_tls
        )
        reconciler = Reconciler(client, datastore, stored, policy, self._clock, self._metrics)
        outlook = Outlook(
            prepare=partial(bootstrap, datastore, settings.pools),
            allow_from=AllowFrom(datastore, settings.allow_from, settings.marathon),
            listen=self._listen,
            reconnect=self._stream.reconnect,
        )
        loop = ControllerLoop(
            reconciler,
            stored,
            outlook,
            self._clock,
            full_jitter,
            settings.resync,
            self._metrics,
        )
        for prefix in (HOSTS, APPLIED, POOLS):
            WatchFeed(prefix, settings.open_datastore, self._inbox.post, self._stop).start()
        lease = start_thread("lease", self._keep_lease)
        start_thread("events", self._follow_events)
        start_thread("stop", partial(self._cut_on_stop, client))
        self._scale_agents()
        try:
            self._work(loop)
        except (LeaseLost, Stopped):
            pass
        finally:
            self._stream.stop()
        if self._stop.is_set():
            lease.join(LEASE_PATIENCE)
        if self._stop.is_set() and self._lease.held:
            self._give_back()
            return 0
        # Whoever started us starts us again, as a standby with a clean slate.
        log.error("lease lost", extra={"token": self._lease.token})
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
            settings.scale_agents, client, lambda: self._lease.held, self._clock, self._metrics
        )
        start_thread("agents", partial(scaler.run, self._stop))

    def _work(self, loop: ControllerLoop) -> None:
        while not self._stop.is_set() and self._lease.held:
            for message in self._inbox.drain(loop.wait()):
                loop.handle(message)
            loop.step()
            self._last_step = self._clock.monotonic()
            self._last_resync = loop.last_resync

    def _listen(self) -> Sequence[Message]:
        """What came while a long piece of work goes on; raises Stopped."""
        if self._stop.is_set():
            raise Stopped
        self._last_step = self._clock.monotonic()
        return self._inbox.drain(0.0)

    def _cut_on_stop(self, client: MarathonClient) -> None:
        """A Marathon that hangs must not hold up the end."""
        self._stop.wait()
        client.close()

    def _follow_events(self) -> None:
        for item in self._stream:
            self._metrics.events.labels(type(item).__name__).inc()
            self._inbox.post(item)

    def _keep_lease(self) -> None:
        complaint = Complaint(log, "lease not renewed")
        while not self._stop.wait(RENEW_EVERY) and self._lease.token is not None:
            try:
                self._lease.keep()
                self._trouble = ""
                complaint.over()
            except DatastoreError as error:
                self._trouble = str(error)
                complaint.tell(str(error))

    def _give_back(self) -> None:
        try:
            self._lease.release()
        except CalicoError as error:
            log.warning("lease not given back; it runs out", extra={"why": str(error)})

    def _health(self) -> Page:
        idle = self._clock.monotonic() - self._last_step
        return Page(idle < STALLED_AFTER, {"seconds_since_step": round(idle, 1)})

    def _ready(self) -> Page:
        """Whether it does its work, or stands by able to take it over."""
        leads, age = self._lease.held, self._resync_age()
        reason = self._trouble
        if leads and not reason:
            if self._last_resync is None:
                reason = "no complete list of Marathon yet"
            elif age > STALE_RESYNCS * self._settings.resync:
                reason = f"the last complete list of Marathon is {age:.0f} s old"
        return Page(not reason, {"leads": leads, "reason": reason})

    def _resync_age(self) -> float:
        last = self._last_resync
        return float("nan") if last is None else self._clock.monotonic() - last

    def _leader(self) -> Page:
        return Page(self._lease.held, {"holder": self._holder, "token": self._lease.token})


def run_controller(settings: ControllerSettings) -> int:
    """Run one controller until it is told to stop or loses its lease."""
    stop = threading.Event()
    with stopped_by_signals(stop.set):
        return Controller(settings, SystemClock(), stop).run()
