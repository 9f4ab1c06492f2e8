"""The controller's one loop: what its feeds say, and what is due, in turn."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from calico.cluster import HoldRecord, Standing
from calico.errors import CalicoError, Conflict, UnknownSchema
from calico.model import Attachment
from marathon_client.errors import MarathonError
from marathon_client.models import AppId
from reconciler.controller.marathon.allow_from import AllowFrom
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.pinned import UnreadablePin
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.scheduling.agenda import Agenda, Chore, Key
from reconciler.controller.scheduling.intake import HEAR_EVERY, STRANGE_AFTER, Intake, Message
from reconciler.controller.scheduling.reloads import Reloads
from reconciler.controller.stored import StoredState
from reconciler.core.removal.framework import Trust
from reconciler.core.removal.withdrawal import CONFIRM_AFTER
from reconciler.runtime.clock import Clock
from reconciler.runtime.lease import LeaseLost

log = logging.getLogger(__name__)

#: Seconds between looks at addresses that rest.
SWEEP_EVERY = 5.0
#: Seconds after which what only Calico's tools read follows.
FINISH_AFTER = 1.0
#: Seconds after a list until a task that it shows waiting is looked at again.
LOOK_AGAIN = 1.0
#: Seconds after a takeover until all is read once more: by then a write that the
#: leader before had sent is done or lost. What one sends that is stopped for
#: longer is seen with the next timed list.
LATE_AFTER = 17.0
#: Seconds between two looks at what is pinned for the cluster.
PIN_EVERY = 5.0
#: Share of the resync interval by which it varies.
JITTER = 0.2


class Stopped(Exception):
    """The loop is to end in the middle of what it does."""


@dataclass(frozen=True, slots=True)
class LoopHooks:
    """What the loop asks of the process around it.

    `prepare` writes what a first start needs; `listen` gives the messages that
    came meanwhile and raises Stopped; `reconnect` opens the event stream anew.
    """

    prepare: Callable[[], None]
    allow_from: AllowFrom
    listen: Callable[[], Sequence[Message]] = tuple
    reconnect: Callable[[], None] = lambda: None


class ControllerLoop:
    """Owns the queue; every method is called by one thread."""

    def __init__(
        self,
        reconciler: Reconciler,
        stored: StoredState,
        hooks: LoopHooks,
        clock: Clock,
        jitter: Callable[[], float],
        resync: float,
        metrics: ControllerMetrics,
    ) -> None:
        self._reconciler = reconciler
        self._stored = stored
        self._hooks = hooks
        self._clock = clock
        self._jitter = jitter
        self._resync = resync
        self._metrics = metrics
        self._agenda = Agenda(jitter)
        self._queue = self._agenda.queue
        self._intake = Intake(reconciler, stored, self._agenda, clock)
        self._reloads: Reloads[Key] = Reloads()
        self._prepared = False
        self._told: dict[Key, str] = {}
        #: Why there was no complete list when one was asked for last.
        self._unheard = ""
        #: Why nothing is decided at all: whose cluster this is cannot be read.
        self.blocked = ""
        #: Containers of unknown tasks at the last look, and those of them for
        #: which a list was asked for.
        self._strangers: frozenset[Attachment] = frozenset()
        self._listed: frozenset[Attachment] = frozenset()
        self.last_resync: float | None = None
        self._agenda.add(Chore.RELOAD, clock.monotonic())

    @property
    def standing(self) -> Standing:
        """Whether addresses are given; what cannot be done, and why."""
        standing = self._reconciler.adoption.standing
        if self.blocked:
            return replace(standing, waits=self.blocked)
        if not self._unheard:
            return standing
        unheard = f"changes in Marathon are not followed: {self._unheard}"
        return replace(standing, waits="; ".join(filter(None, (standing.waits, unheard))))

    @property
    def holds(self) -> tuple[HoldRecord, ...]:
        """What waits for an operator."""
        return self._reconciler.holds.records

    def handle(self, message: Message) -> None:
        """Take one message in: it marks keys due and is otherwise forgotten."""
        self._intake.handle(message)

    def step(self) -> bool:
        """Do what is due longest; tells whether anything was.

        Raises LeaseLost, Stopped and UnknownSchema, after which this loop must end. Any other
        failure is told once and tried again with backoff.
        """
        if not self._intake.is_whole:
            return False
        key = self._queue.pop(self._clock.monotonic())
        if key is None:
            return False
        if key is not Chore.RELOAD and not self._prepared:
            # Nothing may be written before it is known how.
            self._agenda.add(key, self._clock.monotonic() + 1.0)
            return True
        again = False
        try:
            again = self._work(key)
        except (LeaseLost, Stopped, UnknownSchema):
            raise
        except (CalicoError, MarathonError) as error:
            self._refused(key, error)
        except Exception:
            delay = self._put_off(key, "defect")
            log.exception(
                "defect in the controller's loop",
                extra={"key": _word(key), "in_seconds": round(delay, 1)},
            )
        else:
            self._told.pop(key, None)
            self._reloads.succeeded(key)
            if again:
                self._queue.failed(key, self._clock.monotonic())
            else:
                self._queue.succeeded(key)
        return True

    def wait(self) -> float:
        """Seconds until something is due; 1 at most."""
        due = self._queue.next_due()
        if due is None or not self._intake.is_whole:
            return 1.0
        return min(1.0, max(0.0, due - self._clock.monotonic()))

    def _work(self, key: Key) -> bool:
        """Do one piece of work; tells whether to look at the same again soon."""
        now = self._clock.monotonic()
        match key:
            case Chore.RELOAD | Chore.LATE:
                self._work_reload(now)
            case Chore.HOSTS:
                self._reconciler.register_hosts()
            case Chore.RESYNC:
                self._work_resync(now)
            case Chore.FINISH:
                # One at a time, so that an app which is due goes between.
                if self._reconciler.finish_one():
                    self._agenda.add(Chore.FINISH, now)
            case Chore.SWEEP:
                self._work_sweep(now)
            case Chore.STRANGERS:
                self._work_strangers(now)
            case Chore.STORE:
                self._work_store(now)
            case Chore.PIN:
                self._work_pin(now)
            case app_id:
                self._agenda.add(Chore.FINISH, now + FINISH_AFTER)
                self._agenda.looked(AppId(app_id), now)
                look = self._reconciler.reconcile_app(AppId(app_id))
                if look.withdrew or look.awaited:
                    self._agenda.add(Chore.SWEEP, now)
                return look.again
        return False

    def _work_reload(self, now: float) -> None:
        first = not self._prepared
        if first:
            self._hooks.prepare()
            self._allow(self._hooks.allow_from.load())
        is_news = self._reconciler.load()
        self._reloads.done()
        if first or is_news:
            # Whoever changed something may have changed more than was refused.
            self._agenda.ask_for_list(now)
            self._agenda.add(Chore.STORE, now + HEAR_EVERY)
        if first:
            self._prepared, self.blocked = True, ""
            self._agenda.add(Chore.LATE, now + LATE_AFTER)
            self._agenda.add(Chore.PIN, now + PIN_EVERY)

    def _work_pin(self, now: float) -> None:
        """Tell soon, and not with the next list, that what is pinned cannot be read."""
        self._agenda.add(Chore.PIN, now + PIN_EVERY)
        self._reconciler.look_at_pin()
        if self.blocked:
            self.blocked = ""
            # Whom this leader lets in may have been lost with it.
            self._allow(self._hooks.allow_from.load())
            self._agenda.ask_for_list(now)

    def _work_sweep(self, now: float) -> None:
        if self._reconciler.sweep():
            self._agenda.add_apps(self._reconciler.outstanding.pending(), now)
        self._agenda.add_apps(self._reconciler.apps_vacant(), now + LOOK_AGAIN)
        if self._reconciler.rests:
            self._agenda.add(Chore.SWEEP, now + SWEEP_EVERY)

    def _work_store(self, now: float) -> None:
        """Hear of what hosts hold; once more is given, or nothing any more, all is looked at."""
        adoption = self._reconciler.adoption
        before = adoption.closed, adoption.reason
        self._reconciler.look_at_store(self._checkpoint)
        if adoption.is_pending:
            self._agenda.add(Chore.STORE, now + HEAR_EVERY)
        if before != (adoption.closed, adoption.reason):
            self._agenda.ask_for_list(now)

    def _work_strangers(self, now: float) -> None:
        """Ask for a list once for whom nobody has told of between two looks.

        Most are told of by an event before that; other frameworks' never are.
        """
        strangers = self._stored.strangers(self._strangers)
        lasting = (strangers & self._strangers) - self._listed
        if lasting:
            self._agenda.ask_for_list(now)
        if strangers - self._strangers:
            self._agenda.add(Chore.STRANGERS, now + STRANGE_AFTER)
        self._listed = (self._listed | lasting) & strangers
        self._strangers = strangers

    def _work_resync(self, now: float) -> None:
        # The next one first: it stands whatever becomes of this one.
        spread = self._resync * (1 + JITTER * (2 * self._jitter() - 1))
        self._agenda.add(Chore.RESYNC, now + spread)
        timed = not self._agenda.take_asked()
        done = self._reconciler.resync(self._checkpoint)
        self.last_resync, self._unheard = self._clock.monotonic(), ""
        now = self.last_resync
        if timed and done.changed:
            self._metrics.drift.inc(done.changed)
            log.warning("drift found by a timed list", extra={"tasks": done.changed})
        if done.leader is not None:
            if done.trust is Trust.OURS:
                # For good: whoever is let in is never taken away again.
                self._allow(self._hooks.allow_from.learn(done.leader))
            if self._intake.stream.is_deposed(done.leader):
                self._hooks.reconnect()
        if self._reconciler.adoption.is_pending:
            self._agenda.add(Chore.STORE, now + HEAR_EVERY)
        if done.waits:
            self._agenda.add(Chore.RESYNC, now + CONFIRM_AFTER)
        for chore in (Chore.HOSTS, Chore.SWEEP, Chore.FINISH):
            self._agenda.add(chore, now)
        self._agenda.add_apps(self._reconciler.outstanding.awaited(), now + LOOK_AGAIN)
        # The list was read: what stands out is read app by app.
        for app_id, failure in done.failures.items():
            self._refused(app_id, failure)

    def _allow(self, sources: tuple[IPNetwork, ...]) -> None:
        policy = self._reconciler.policy
        if sources != policy.allow_from:
            self._reconciler.policy = replace(policy, allow_from=sources)
            self._agenda.ask_for_list(self._clock.monotonic())

    def _checkpoint(self) -> None:
        for message in self._hooks.listen():
            self.handle(message)

    def _refused(self, key: Key, error: CalicoError | MarathonError) -> None:
        if isinstance(error, Conflict):
            # What is cached is older than the store: read all of it anew.
            self._agenda.add(Chore.RELOAD, self._reloads.due(key, self._clock.monotonic()))
        if key is Chore.RESYNC and isinstance(error, MarathonError):
            self._unheard = str(error)
        delay = self._put_off(key, "failed")
        # A remote that stays away would else fill the log with one sentence.
        reason = str(error)
        is_told = reason in (self._told.get(key), self.blocked)
        if isinstance(error, UnreadablePin):
            self.blocked = reason
        if not is_told:
            self._told[key] = reason
            log.warning(
                "will be tried again",
                extra={"key": _word(key), "in_seconds": round(delay, 1), "why": reason},
            )

    def _put_off(self, key: Key, outcome: str) -> float:
        """Have it tried again; tells in how many seconds."""
        self._metrics.reconciles.labels(outcome).inc()
        return self._queue.failed(key, self._clock.monotonic())


def _word(key: Key) -> str:
    return key.value if isinstance(key, Chore) else key
