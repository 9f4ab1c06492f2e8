"""One host, brought from what its kernel holds to what the datastore asks for."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from netaddr import IPAddress

from calico.cluster import ObjectionRecord
from calico.dataplane.api import Dataplane
from calico.dataplane.changes import Plan
from calico.dataplane.foreign.rules import ForeignRules
from calico.dataplane.render.host import Rendered
from calico.dataplane.state import HostConfig
from calico.datastore.api import Key, Put, Revision
from calico.errors import DataplaneError
from calico.keys import BLOCKS, parse_endpoint_key
from calico.model import EndpointId, Snapshot, TaskId
from reconciler.agent.attachments.block_writes import BlockRefused, BlockWritten
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.held import HeldAttachments
from reconciler.agent.attachments.merging import Merged
from reconciler.agent.attachments.requests import NO_CHORES, CheckAsked, Chores
from reconciler.agent.belief import Belief, Source, View
from reconciler.agent.locators.api import Search
from reconciler.agent.observation.evidence import Evidence, StillHeld
from reconciler.agent.observation.known import KnownKernel
from reconciler.agent.observation.looks import VERIFY_AFTER, Looks
from reconciler.agent.observation.losses import has_lost
from reconciler.agent.reconciliation.passes import (
    AgentMessage,
    ContainersChanged,
    HostSettings,
    KernelChanged,
    Pass,
    Surveyed,
    host_config,
)
from reconciler.agent.reconciliation.programming import Programming
from reconciler.agent.reconciliation.rendering import Rendering
from reconciler.agent.reconciliation.save_schedule import SaveSchedule
from reconciler.agent.reporting.objection import ObjectionCache
from reconciler.agent.reporting.problems import (
    obstacles,
    problems_here,
    problems_of_view,
    why_not_given,
    why_not_wired,
)
from reconciler.agent.searches import Searches
from reconciler.agent.state_file import SavedState, StateWritten
from reconciler.agent.vouching import LeaderSeen, Vouching
from reconciler.core.endpoint_status import endpoint_statuses
from reconciler.core.kernels.look import Look
from reconciler.runtime.clock import Clock, rfc3339
from reconciler.runtime.watchfeed import Bookmark, Changed, Loaded, Unreachable

log = logging.getLogger(__name__)

MOST_PROBLEMS = 20
UNJUDGED = "the datastore was listed anew, and may be another one"


class HostReconciler:
    """Owns all state of one agent; every method is called by one thread."""

    def __init__(
        self,
        settings: HostSettings,
        dataplane: Dataplane,
        clock: Clock,
        still_held: StillHeld,
        chores: Chores = NO_CHORES,
    ) -> None:
        self._settings = settings
        self._dataplane = dataplane
        self._clock = clock
        self._belief = Belief(settings.host)
        self._evidence = Evidence(still_held)
        self._searches = Searches()
        self._held = HeldAttachments(settings.host, chores)
        self._config: HostConfig | None = None
        self._others: tuple[IPAddress, ...] = ()
        self._foreign = ForeignRules()
        self._unsaved = ""
        #: Blocks out of which no address is given as they are read, and why.
        self._refused: dict[Key, str] = {}
        #: Whether all blocks were listed since what is believed was judged by them.
        self._is_unjudged = True
        self._revision = 0
        self._rendering = Rendering()
        self._merged: Merged | None = None
        self._shut: Mapping[EndpointId, str] = {}
        self._looks = Looks(clock.monotonic())
        self._programming = Programming(
            dataplane,
            clock,
            self._looks,
            self._evidence,
            self._searches,
            self._held,
            self._belief.take_passages,
        )
        self._save_schedule = SaveSchedule(settings.host, settings.boot_id)
        self._objections = ObjectionCache(settings.host, settings.boot_id)
        #: Tasks that the last pass knew to be gone.
        self._gone: frozenset[TaskId] = frozenset()
        self._vouching = Vouching(clock.monotonic())
        #: Whether it is known which tasks to search for: what came since changed none.
        self._is_want_known = False
        #: Tasks that are wired, and not known where.
        self._unknown: frozenset[TaskId] = frozenset()

    def restore(self, saved: SavedState) -> None:
        """Take over an earlier run's last good state."""
        self._belief.restore(saved.listings, saved.doubted)
        self._vouching.restore(is_given=saved.vouched)
        self._programming.restore(self._belief.saved_snapshot)
        same_boot = saved.boot_id == self._settings.boot_id
        self._evidence.restore(saved.attached, same_boot=same_boot)

    def hold(self, attachments: Iterable[KeptAttachment]) -> None:
        """Take over what an earlier run gave to containers."""
        self._held.restore(attachments)

    def handle(self, message: AgentMessage) -> None:
        """Take one message in; nothing is done yet."""
        self._is_want_known = False
        match message:
            case Search():
                self._searches.take_in(
                    message, self._evidence, self._kernel.linked, self._clock.monotonic()
                )
                self._programming.note_waiting()
            case KernelChanged(noticed):
                self._looks.notice(noticed, self._clock.monotonic())
            case Surveyed(foreign):
                self._foreign = foreign
            case StateWritten(problem):
                self._unsaved = problem
            case BlockRefused():
                self._note_refused(message)
            case ContainersChanged():
                self._searches.hurry(self._clock.monotonic())
            case Changed(_, Put(stored)):
                self._note_arrived(stored.key)
                self._belief.handle(message)
            case LeaderSeen():
                self._vouching.handle(message, self._belief.latest)
            case Loaded() | Changed() | Unreachable() | Bookmark() | BlockWritten():
                if isinstance(message, Loaded):
                    self._is_unjudged |= message.prefix == BLOCKS
                    self._vouching.begin_anew()
                    # Of an older self, which may not be told as one, it is to be
                    # found out what in it containers have given back since.
                    self._held.note_doubt(UNJUDGED)
                self._belief.handle(message)
            case _:
                if isinstance(message, CheckAsked):
                    self._looks.ask(self._clock.monotonic())
                self._held.handle(message, self._evidence, self._kernel.linked)

    def _note_arrived(self, key: Key) -> None:
        endpoint = parse_endpoint_key(key)
        if endpoint is not None and endpoint.host == self._settings.host:
            self._searches.note_arrived(endpoint)

    def _note_refused(self, block: BlockRefused) -> None:
        self._refused.pop(block.block, None)
        if block.why:
            self._refused[block.block] = f"no container gets an address: {block.why}"

    def next_due(self) -> float:
        """When there is something to do although no message comes, monotonic."""
        due = (self._searches.next_due(), self._held.next_due(), self._looks.next_due())
        return min(each for each in due if each is not None)

    @property
    def _kernel(self) -> KnownKernel:
        return self._programming.kernel

    @property
    def is_vouched_for(self) -> bool:
        """Whether nobody needs to look at who leads any more; any thread may ask."""
        return self._vouching.is_given

    def pass_is_due(self) -> bool:
        """Whether a pass must be made even if no message came."""
        return self.look_is_due() or self._held.is_due(self._clock.monotonic())

    def look_is_due(self) -> bool:
        """Whether the kernel must be looked at, and not only changed."""
        return self._looks.are_due(self._clock.monotonic(), self._kernel.is_as_left)

    def search_arrived(self) -> frozenset[TaskId]:
        """Tasks that an event just told of, to be searched for before anything else.

        The search then goes on while policy is rendered and brought in. It is
        only a guess: whether a task is wired is decided by the pass.
        """
        if not self._searches.has_arrived:
            return frozenset()
        view = self._belief.judge()
        if view.source is not Source.DATASTORE or view.snapshot is None:
            self._searches.forget_arrived()
            return frozenset()
        return self._searches.begin_arrived(
            view.snapshot.specs,
            self._held.interfaces,
            self._kernel.linked,
            self._clock.monotonic(),
        )

    def search(self) -> frozenset[TaskId]:
        """Tasks to search for now; empty while a search goes on."""
        now = self._clock.monotonic()
        if not self._is_want_known:
            self._want(now)
            self._unknown = self._kernel.linked - self._evidence.attached.keys()
            self._is_want_known = True
        return self._searches.begin(now, self._unknown)

    def _want(self, now: float) -> None:
        view = self._belief.judge()
        if view.source is Source.DATASTORE and view.snapshot is not None and self._config:
            links = self._rendered(view.snapshot, self._config)[1].state.links
            known = self._kernel.reached.complete | self._held.interfaces
            self._searches.want(
                (
                    link.wiring.task
                    for name, link in links.items()
                    if name not in known and link.wiring is not None
                ),
                now,
            )

    def saved(self) -> SavedState | None:
        """What to keep on disk, if it changed: only what the kernel was brought to."""
        snapshot = self._belief.judge().snapshot or self._belief.saved_snapshot
        if snapshot is None or self._programming.carried_through is not snapshot:
            return None
        return self._save_schedule.changed(
            self._belief,
            self._evidence.attached,
            self._clock.monotonic(),
            vouched=self._vouching.is_given,
        )

    def objection(self) -> ObjectionRecord | None:
        """What this host holds of another store than answers now; None if that is believed."""
        return self._objections.of(self._belief, self._held.attached, self._gone)

    def reconcile(self) -> Pass:
        """Make the kernel agree with what is believed, and answer who asked for a network."""
        self._is_want_known = False
        view = self._belief.judge()
        self._held.note_seen(max(self._belief.reached.values(), default=Revision(0)))
        if self._is_unjudged and view.source is Source.DATASTORE and not view.doubt:
            self._is_unjudged = False
            self._refused.clear()
            self._held.note_judged()
        self._held.note_doubt(why_not_wired(view), why_not_given(view, self._vouching.why_not))
        self._programming.take_links_away(view)
        reached = self._attempt(view)
        failed = self._held.answer(
            self._kernel,
            self._shut,
            self._config.mtu if self._config is not None else 0,
            self._clock.monotonic(),
        )
        if failed:
            again = self._attempt(view)
            reached = replace(again, changes=reached.changes + again.changes)
            for each in failed:
                each.answer()
        if self._merged is not None and view.source is Source.DATASTORE:
            self._held.leave_chores(self._merged, self._evidence.gone, self._clock.monotonic())
            self._held.leave_lost(self._has_lost)
        return reached

    def _has_lost(self, attachment: KeptAttachment) -> bool:
        blocks = self._belief.believed(BLOCKS)
        return has_lost(attachment, self._settings.host, blocks, self._belief.untold)

    def _attempt(self, view: View) -> Pass:
        assumed = self._kernel.state is not None and not self.look_is_due()
        try:
            return self._reconcile(view)
        except DataplaneError as error:
            # Nothing is known of the kernel any more. If something was only
            # assumed, another program may have been at it: look at once.
            self._programming.forget()
            self._looks.ask(self._clock.monotonic() + (0.0 if assumed else VERIFY_AFTER))
            return self._pass(view, None, (f"dataplane: {error}",), looked=True)

    def look(self) -> Look | None:
        """What the kernel holds now beside what it should; None while that is not known.

        Changes nothing; raises DataplaneError.
        """
        view = self._belief.judge()
        if view.snapshot is None or self._config is None:
            return None
        merged, rendered = self._rendered(view.snapshot, self._config)
        return Look(
            host=self._settings.host,
            addresses=(self._config.address, *self._others),
            underlay=self._config.underlay,
            at=rfc3339(self._clock.wall()),
            revision=view.revision,
            source=view.source.value,
            desired=rendered.state,
            observed=self._dataplane.observe(),
            snapshot=merged.snapshot,
            doubt=view.doubt or view.unreachable,
        )

    def _reconcile(self, view: View) -> Pass:
        now = self._clock.monotonic()
        look = self.look_is_due()
        if look:
            self._looks.begin(now)
            self._programming.begin_look()
        if look or self._config is None:
            self._config = self._read_config()
        if view.snapshot is None:
            return self._pass(view, None, ())
        merged, rendered = self._rendered(view.snapshot, self._config)
        look = look or self._searches.has_found or self._held.has_found
        look = look or rendered.state != self._kernel.programmed
        changes: Plan = ()
        if look:
            changes = self._programming.program(view, merged, self._config, rendered)
        elif view.source is Source.DATASTORE:
            self._programming.carry_through(view.snapshot, self._config, merged.snapshot)
        if self._kernel.reflects and view.source is Source.DATASTORE:
            self._revision = view.revision
        reached = self._pass(view, rendered, self._kernel.problems, changes, looked=look)
        self._looks.end(now, self._clock.monotonic())
        return reached

    def _rendered(self, snapshot: Snapshot, config: HostConfig) -> tuple[Merged, Rendered]:
        """What the kernel should hold: the datastore's endpoints, and this host's containers."""
        merged = self._held.merged(snapshot)
        rendered = self._rendering.of(merged.snapshot, config, self._held.devices())
        self._merged, self._shut = merged, rendered.endpoint_problems
        return merged, rendered

    def _read_config(self) -> HostConfig:
        facts = self._dataplane.facts(self._settings.address)
        self._others = facts.others
        return host_config(self._settings, facts)

    def _pass(
        self,
        view: View,
        rendered: Rendered | None,
        problems: tuple[str, ...],
        changes: Plan = (),
        *,
        looked: bool = False,
    ) -> Pass:
        statuses = None
        merged = self._merged
        gone = self._evidence.gone
        if rendered is not None and view.snapshot is not None and merged is not None:
            gone = gone - merged.stand_ins | merged.gone
            reached = self._kernel.reached
            statuses = endpoint_statuses(
                view.snapshot,
                self._settings.host,
                {**rendered.endpoint_problems, **merged.problems},
                reached if reached.gone == gone else replace(reached, gone=gone),
            )
        told = (
            *problems_of_view(view),
            *problems,
            *(rendered.host_problems if rendered is not None else ()),
            *self._held.problems,
            *filter(None, (self._vouching.problem(self._clock.monotonic()), self._unsaved)),
            *self._refused.values(),
            *obstacles(self._foreign, view, self._config),
            *problems_here(view, self._settings.host),
        )
        self._gone = gone
        return Pass(
            view=view,
            address=None if self._config is None else self._config.address,
            others=self._others,
            statuses=statuses,
            revision=self._revision,
            gone=tuple(sorted(gone)),
            problems=told[:MOST_PROBLEMS],
            attachments=() if merged is None else self._held.records(merged),
            why_not_attached=why_not_wired(view)
            or why_not_given(view, self._vouching.why_not)
            or next(iter(self._refused.values()), ""),
            settled=self._kernel.programmed is not None and rendered is not None,
            changes=changes,
            looked=looked,
        )
