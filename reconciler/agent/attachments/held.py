"""The containers of one host, as the agent's loop has them; owned by its thread."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from calico.dataplane.api import Dataplane
from calico.dataplane.changes import NamespaceRef, RemoveLink
from calico.dataplane.state import HostState
from calico.datastore.api import Revision
from calico.errors import DataplaneError
from calico.model import (
    Attachment,
    ContainerId,
    EndpointId,
    HostName,
    InterfaceName,
    Snapshot,
    TaskId,
)
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.merging import Merged, Merging, devices, unclaimed_endpoint
from reconciler.agent.attachments.questions import Questions
from reconciler.agent.attachments.requests import (
    AttachAsked,
    AttachmentForgotten,
    AttachmentKept,
    AttachMessage,
    CheckAsked,
    Chores,
    DetachAsked,
    Done,
    Outcome,
    SeenLost,
    TasksTold,
)
from reconciler.agent.observation.evidence import Evidence
from reconciler.agent.observation.known import KnownKernel
from reconciler.attach.api import AttachRefused, AttachUnavailable, UnknownContainer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that could not be fulfilled; whoever asked is told when nothing is left of it."""

    asked: AttachAsked
    why: str

    def answer(self) -> None:
        """Answer it."""
        self.asked.reply.settle(AttachUnavailable(self.why))


class HeldAttachments:
    """What containers have and wait for; changes nothing itself."""

    def __init__(self, host: HostName, chores: Chores) -> None:
        self._host = host
        self._chores = chores
        self._attachments: dict[ContainerId, KeptAttachment] = {}
        self._pending: dict[ContainerId, AttachAsked] = {}
        self._detaching: dict[ContainerId, list[DetachAsked]] = {}
        self._checks: list[CheckAsked] = []
        self._merging = Merging(host)
        self._questions = Questions()
        self._ended: set[ContainerId] = set()
        self._named: set[ContainerId] = set()
        self._seen_lost: set[ContainerId] = set()
        self._why_not = ""

    def restore(self, attachments: Iterable[KeptAttachment]) -> None:
        """Take over what an earlier run kept."""
        self._attachments = {attachment.container: attachment for attachment in attachments}

    def handle(
        self, message: AttachMessage, evidence: Evidence, linked: Collection[TaskId]
    ) -> None:
        """Take one message in; what it asks for is answered after a pass."""
        match message:
            case AttachmentKept(attachment):
                self._attachments[attachment.container] = attachment
            case AttachAsked():
                self._begin(message, evidence, linked)
            case DetachAsked(container):
                known = self._attachments.get(container)
                if known is not None:
                    self._drop(container)
                    self._attachments[container] = replace(known, detached=True)
                self._detaching.setdefault(container, []).append(message)
            case CheckAsked():
                self._checks.append(message)
            case AttachmentForgotten(container):
                self._attachments.pop(container, None)
                self._named.discard(container)
                self._ended.discard(container)
            case TasksTold(tasks, why):
                self._questions.answer(tasks, why)
            case SeenLost(container):
                self._seen_lost.add(container)
            case _:
                assert_never(message)

    def note_doubt(self, why: str, why_not_given: str = "") -> None:
        """Wire nothing that was not wired before as long as there is a reason not to.

        `why_not_given` is one to give no addresses, and for nothing else.
        """
        self._why_not = why
        self._chores.doubted(why or why_not_given)

    def note_seen(self, revision: Revision) -> None:
        """Give nothing out of a datastore that has not come so far."""
        self._chores.seen(revision)

    def note_judged(self) -> None:
        """Hold against what is believed nothing that was written before."""
        self._chores.judged()

    def is_due(self, now: float) -> bool:
        """Whether a pass must be made even if no message came."""
        due = self.next_due()
        return due is not None and now >= due

    @property
    def has_found(self) -> bool:
        """Whether somebody waits for a link, in a namespace that is known."""
        return bool(self._pending)

    @property
    def attached(self) -> tuple[KeptAttachment, ...]:
        """What was not detached, with or without a link."""
        return tuple(each for each in self._attachments.values() if not each.detached)

    @property
    def interfaces(self) -> frozenset[InterfaceName]:
        """Links that no locator is to be asked about."""
        return frozenset(each.interface for each in self._attachments.values())

    @property
    def going(self) -> frozenset[InterfaceName]:
        """Links that are to be taken away whatever is known of the datastore."""
        return frozenset(
            self._attachments[each].interface
            for each in self._detaching
            if each in self._attachments
        )

    def merged(self, snapshot: Snapshot) -> Merged:
        """What is to be rendered of a snapshot."""
        return self._merging.of(snapshot, self._attachments.values())

    def devices(self) -> Mapping[InterfaceName, str]:
        """What links are called inside."""
        return devices(self._attachments.values())

    def note_evidence(self, merged: Merged, evidence: Evidence) -> None:
        """Where containers live that were attached before; it proves the end of their tasks."""
        known = evidence.attached
        for attachment, key in self._attached(merged):
            ref = known.get(key)
            if attachment.namespace is not None and (ref is None or ref != attachment.namespace):
                evidence.wired(key, attachment.namespace)

    def namespaces(
        self, merged: Merged, observed: HostState | None, desired: HostState
    ) -> dict[TaskId, NamespaceRef]:
        """Where to make the links that are missing, or are not as they should be."""
        seen = {} if observed is None else observed.links
        found = {}
        for container, key in merged.keys.items():
            attachment = self._attachments[container]
            link = desired.links.get(attachment.interface)
            if attachment.namespace is None or link is None:
                continue
            asked = self._pending.get(container)
            if self._why_not and asked is not None and asked.fresh:
                continue
            there = seen.get(attachment.interface)
            if there is None or there.alias != link.alias:
                found[key] = attachment.namespace if asked is None else asked.namespace
        return found

    def answer(
        self,
        kernel: KnownKernel,
        problems: Mapping[EndpointId, str],
        mtu: int,
        now: float,
    ) -> tuple[Failed, ...]:
        """Answer whoever has what it asked for; the others are answered once it is undone.

        `problems` are those of rendering.
        """
        failed: list[Failed] = []
        for container, asked in list(self._pending.items()):
            interface = asked.attachment.interface
            reason = kernel.reached.failed.get(interface, "")
            if interface in kernel.reached.complete and not reason:
                self._close(container)
                if not asked.reply.settle(Done(mtu)):
                    self._undo(asked)
                    failed.append(Failed(asked, "nobody waited"))
            elif reason or asked.reply.abandoned or now >= asked.deadline:
                self._close(container)
                self._undo(asked)
                shut = problems.get(unclaimed_endpoint(self._host, asked.attachment).id, "")
                why = reason or shut or self._why_not or "the kernel was not ready in time"
                failed.append(Failed(asked, why))
        for container, many in list(self._detaching.items()):
            gone = self._attachments.get(container)
            if gone is None or gone.interface not in kernel.present:
                del self._detaching[container]
                for each in many:
                    each.reply.settle(Done(mtu))
        if kernel.judged:
            checks, self._checks = self._checks, []
            for check in checks:
                check.reply.settle(self._checked(check.container, kernel, mtu))
        return tuple(failed)

    def _checked(self, container: ContainerId, kernel: KnownKernel, mtu: int) -> Outcome:
        found = self._attachments.get(container)
        if found is not None and found.interface in kernel.reached.complete:
            return Done(mtu)
        return UnknownContainer(
            f"the link of container {container} is not in the kernel, or not as it was made"
        )

    def leave_chores(self, merged: Merged, gone: Collection[TaskId], now: float) -> None:
        """Have others do what follows from a pass."""
        for container in merged.claimed:
            attachment = self._attachments[container]
            if not attachment.claimed:
                self._attachments[container] = replace(attachment, claimed=True)
                self._chores.claimed(container)
        for attachment, key in self._attached(merged):
            if key in gone and attachment.container not in self._ended:
                self._ended.add(attachment.container)
                self._chores.ended(attachment.container)
        # One that no endpoint has named yet is remembered as long as a task has
        # its addresses: however late its endpoint is seen, it proves that end.
        for container in self._named - merged.named:
            if container in self._attachments and self._attachments[container].detached:
                self._named.discard(container)
                self._chores.forgettable(container)
        self._named |= merged.named
        asked = self._questions.begin(
            {
                each.mesos_id
                for each in self._attachments.values()
                if not (each.detached or each.claimed or each.runs)
            },
            now,
        )
        if asked:
            self._chores.unclaimed(asked)

    def leave_lost(self, is_lost: Callable[[KeptAttachment], bool]) -> None:
        """Have those kept that lost their addresses not only by a look at what answered then."""
        seen, self._seen_lost = self._seen_lost, set()
        for container in seen & self._attachments.keys():
            if is_lost(self._attachments[container]):
                self._chores.lost(container)

    def records(self, merged: Merged) -> tuple[Attachment, ...]:
        """What the controller is told of: the containers that no task has claimed."""
        return tuple(
            Attachment(
                container,
                attachment.addresses,
                attachment.runs or self._questions.task(attachment.mesos_id),
                attachment.since,
            )
            for container, attachment in sorted(self._attachments.items())
            if not (attachment.detached or attachment.claimed) and container not in merged.claimed
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Why some of them stay closed."""
        return (self._questions.problem,) if self._questions.problem else ()

    def next_due(self) -> float | None:
        """When there is something to do although no message comes."""
        due = [asked.deadline for asked in self._pending.values()]
        question = self._questions.next_due()
        if question is not None:
            due.append(question)
        return min(due, default=None)

    def _attached(self, merged: Merged) -> Iterator[tuple[KeptAttachment, TaskId]]:
        """Containers that were wired once, or are taken to have been."""
        for container, key in merged.keys.items():
            attachment = self._attachments[container]
            if attachment.device and container not in self._pending:
                yield attachment, key

    def _begin(self, asked: AttachAsked, evidence: Evidence, linked: Collection[TaskId]) -> None:
        container = asked.attachment.container
        owner = evidence.owner(asked.namespace.inode)
        own = {TaskId(asked.attachment.interface)}
        last = self._merging.last
        if last is not None and container in last.keys:
            own.add(last.keys[container])
        if owner is not None and owner not in own and owner in linked:
            asked.close(asked.namespace.descriptor)
            asked.reply.settle(AttachRefused(f"its network namespace is that of task {owner}"))
            return
        self._drop(container)
        self._ended.discard(container)
        known = self._attachments.get(container)
        claimed = asked.attachment.claimed or (known is not None and known.claimed)
        self._attachments[container] = replace(asked.attachment, claimed=claimed)
        self._pending[container] = asked

    def _drop(self, container: ContainerId) -> None:
        """Leave a request behind that another one overtook."""
        asked = self._pending.get(container)
        if asked is not None:
            self._close(container)
            asked.reply.settle(AttachUnavailable("another request overtook this one"))

    def _close(self, container: ContainerId) -> None:
        asked = self._pending.pop(container)
        asked.close(asked.namespace.descriptor)

    def _undo(self, asked: AttachAsked) -> None:
        container = asked.attachment.container
        held = self._attachments.get(container)
        if asked.fresh and held is not None and not held.detached:
            self._attachments[container] = held.without_link()


def remove_links(
    dataplane: Dataplane, going: Collection[InterfaceName]
) -> frozenset[InterfaceName]:
    """Take links away, their routes with them; those that are gone now."""
    try:
        failures = dataplane.apply(tuple(map(RemoveLink, sorted(going)))).failures
    except DataplaneError as error:
        log.warning("links not taken away", extra={"why": str(error)})
        return frozenset()
    left = {change.name for change in failures if isinstance(change, RemoveLink)}
    return frozenset(going) - left
