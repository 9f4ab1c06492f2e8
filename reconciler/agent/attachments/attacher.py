"""Carries out what containers' runtimes ask for, in whatever thread they ask.

Requests about one container go one after another. The datastore is the
allocator's, the kernel the loop's: both are asked, and waited for no longer
than the request may take. The file of a container is written between the two.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace

from netaddr import IPAddress

from calico.dataplane.changes import NamespaceRef
from calico.errors import DataplaneError
from calico.model import ContainerId
from reconciler.agent.attachments.allocator import (
    WORD_WITHIN,
    AllocateAsked,
    Job,
    ReleaseAsked,
)
from reconciler.agent.attachments.files import AttachmentBook, AttachmentFiles, KeptAttachment
from reconciler.agent.attachments.places import (
    KernelNamespaces,
    Namespaces,
    expect_free_device,
    expect_own_namespace,
    is_same,
    path_of,
)
from reconciler.agent.attachments.requests import (
    AttachAsked,
    AttachmentForgotten,
    AttachmentKept,
    AttachMessage,
    CheckAsked,
    DetachAsked,
    Outcome,
    Reply,
)
from reconciler.agent.attachments.turns import Turns
from reconciler.attach.api import (
    Attached,
    AttachError,
    AttachRefused,
    AttachUnavailable,
    Place,
    UnknownContainer,
    Wish,
)
from reconciler.attach.rules import (
    check_id,
    check_place,
    check_same_wish,
    check_wish,
    has_another,
    second_interface,
)
from reconciler.attach.wire import NO_DESCRIPTOR
from reconciler.runtime.clock import Clock, rfc3339
from reconciler.runtime.conditions import Conditions

log = logging.getLogger(__name__)

#: Seconds that a request may take; the rest of ANSWER_WITHIN is the socket's.
PATIENCE = 1.8
#: How much sooner the loop gives up than who waits for it, so that it can say why.
SOONER = 0.2
BUSY = "the agent did not get to it in time: ask again"


@dataclass(frozen=True, slots=True)
class Partners:
    """Who does what a request needs; none of them blocks.

    `asker` finds out which task a container is for.
    """

    tell_loop: Callable[[AttachMessage], None]
    allocator: Callable[[Job], None]
    asker: Callable[[ContainerId, Reply[str]], None]


class HostAttacher:
    """Implements `Attacher` for the agent's host; usable from any number of threads."""

    def __init__(
        self,
        files: AttachmentFiles,
        partners: Partners,
        clock: Clock,
        mtu: int,
        patience: float = PATIENCE,
        namespaces: Namespaces | None = None,
        conditions: Conditions = threading.Condition,
    ) -> None:
        """Without `namespaces` they are the kernel's."""
        self._namespaces = namespaces or KernelNamespaces()
        self._conditions = conditions
        self._book = AttachmentBook(files)
        self._partners = partners
        self._clock = clock
        self._mtu = mtu
        self._turns = Turns(clock, patience, conditions)

    def restore(self, attachments: Iterable[KeptAttachment]) -> None:
        """Take over what an earlier run left; before the first request."""
        self._book.restore(attachments)

    def in_time(self) -> AbstractContextManager[None]:
        """See Attacher."""
        return self._turns.in_time()

    def allocate(self, container: ContainerId, wish: Wish) -> Attached:
        """See Attacher."""
        check_id(container)
        check_wish(wish)
        with self._turns.of(container) as deadline:
            known = self._book.get(container)
            if known is not None and known.detached:
                self._settle(known, deadline)
            elif known is not None:
                attached = self._attached(known)
                check_same_wish(attached, wish)
                return attached
            runs: Reply[str] = Reply(self._conditions)
            self._partners.asker(container, runs)
            addresses = self._given_addresses(container, wish, deadline, runs)
            since = rfc3339(self._clock.wall())
            attachment = KeptAttachment(container, addresses, since, runs=runs.wait(0.0) or "")
            try:
                self._book.write(attachment)
            except AttachUnavailable:
                self._partners.allocator(
                    ReleaseAsked(container, addresses, Reply(self._conditions))
                )
                raise
            self._book.keep(attachment)
            self._partners.tell_loop(AttachmentKept(attachment))
            return self._attached(attachment)

    def attach(self, container: ContainerId, place: Place) -> Attached:
        """See Attacher."""
        check_id(container)
        check_place(place)
        descriptor = self._namespaces.open(place)
        posted = False
        try:
            with self._turns.of(container) as deadline:
                known = self._book.get(container)
                if known is None or known.detached:
                    raise UnknownContainer(f"container {container} has no addresses yet")
                ref = self._namespaces.identify(descriptor, path_of(place))
                named = replace(ref, descriptor=descriptor)
                attachment = self._placed(known, place, named)
                fresh = attachment is not known
                if fresh:
                    self._book.write(attachment)
                    self._book.keep(attachment)
                reply: Reply[Outcome] = Reply(self._conditions)
                close = self._namespaces.close
                asked = AttachAsked(attachment, named, fresh, deadline - SOONER, reply, close)
                posted = True
                self._partners.tell_loop(asked)
                try:
                    self._await(reply, deadline)
                except AttachError:
                    if fresh:
                        self._unplace(known)
                    raise
                return self._attached(attachment)
        except DataplaneError as error:
            raise AttachRefused(str(error)) from error
        finally:
            if not posted:
                self._namespaces.close(descriptor)

    def detach(self, container: ContainerId, device: str = "") -> bool:
        """See Attacher."""
        check_id(container)
        with self._turns.of(container) as deadline:
            known = self._book.get(container)
            if known is None or known.detached or has_another(known.device, device):
                return False
            self._take_away(known, deadline)
            return True

    def check(self, container: ContainerId) -> Attached:
        """See Attacher."""
        check_id(container)
        with self._turns.of(container) as deadline:
            known = self._book.get(container)
            if known is None or known.detached:
                raise UnknownContainer(f"container {container} is not attached here")
            if known.device:
                reply: Reply[Outcome] = Reply(self._conditions)
                self._partners.tell_loop(CheckAsked(container, reply))
                self._await(reply, deadline)
            return self._attached(known)

    def find(self, sign: IPAddress | str) -> ContainerId | None:
        """See Attacher."""
        return next(
            (
                each.container
                for each in self._book.all()
                if not each.detached
                and (sign in each.addresses or (sign and sign == each.known_as))
            ),
            None,
        )

    def is_known(self, container: ContainerId) -> bool:
        """Whether a container has addresses, or a request about it is under way."""
        # In this order: what a request that has just ended gave is known by then.
        if self._turns.is_taken(container):
            return True
        attachment = self._book.get(container)
        return attachment is not None and not attachment.detached

    def attachments(self) -> tuple[KeptAttachment, ...]:
        """What every container has, those that were detached too."""
        return self._book.all()

    def note_claimed(self, container: ContainerId) -> None:
        """Keep that a task has claimed a container: it is never unclaimed again."""
        with self._turns.of(container):
            known = self._book.get(container)
            if known is not None and not known.detached:
                claimed = replace(known, claimed=True)
                self._book.keep(claimed)
                self._book.write(claimed)

    def note_lost(self, container: ContainerId) -> None:
        """Have nothing made for a container any more but on the word of a task's endpoint."""
        self.note_claimed(container)
        known = self._book.get(container)
        if known is not None and known.claimed:
            self._partners.tell_loop(AttachmentKept(known))

    def forget(self, container: ContainerId) -> None:
        """Remember nothing of a container that was detached."""
        with self._turns.of(container) as deadline:
            known = self._book.get(container)
            if known is not None and known.detached:
                self._release(known, deadline)
                self._drop(container)

    def settle(self, container: ContainerId) -> None:
        """Remember a container that was detached only if a task has what it had.

        Raises AttachUnavailable if that is so, or is not known.
        """
        with self._turns.of(container) as deadline:
            known = self._book.get(container)
            if known is not None and known.detached:
                self._settle(known, deadline)

    def _settle(self, known: KeptAttachment, deadline: float) -> None:
        if not self._release(known, deadline):
            raise AttachUnavailable(
                f"container {known.container} was detached,"
                " and what it had is still being taken back"
            )
        self._drop(known.container)

    def _take_away(self, known: KeptAttachment, deadline: float) -> None:
        """First it is kept that nothing is left, then nothing is: a crash leads there too."""
        gone = replace(known, detached=True)
        with suppress(AttachUnavailable):
            # On a full disk the container goes all the same.
            self._book.write(gone)
        self._book.keep(gone)
        reply: Reply[Outcome] = Reply(self._conditions)
        self._partners.tell_loop(DetachAsked(known.container, reply))
        self._await(reply, deadline)
        if self._release(known, deadline):
            # No task has claimed it, so nothing in the datastore names it.
            self._drop(known.container)

    def _release(self, known: KeptAttachment, deadline: float) -> bool:
        """Whether its addresses are no task's; what fails is swept later."""
        reply: Reply[bool | AttachError] = Reply(self._conditions)
        self._partners.allocator(ReleaseAsked(known.container, known.addresses, reply))
        return reply.wait(deadline - self._clock.monotonic()) is True

    def _given_addresses(
        self, container: ContainerId, wish: Wish, deadline: float, runs: Reply[str]
    ) -> tuple[IPAddress, ...]:
        reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply(self._conditions)
        now = self._clock.monotonic()
        word_until = min(deadline, now + WORD_WITHIN)
        self._partners.allocator(AllocateAsked(container, wish, deadline, reply, runs, word_until))
        given = reply.wait(deadline - now)
        if given is None:
            raise AttachUnavailable("the datastore did not give an address in time")
        if isinstance(given, AttachError):
            raise given
        return given

    def _placed(self, known: KeptAttachment, place: Place, ref: NamespaceRef) -> KeptAttachment:
        """The network with its place: itself if it has this one already. Raises AttachRefused."""
        if known.device and (known.device != place.device or not is_same(known.namespace, ref)):
            raise second_interface(self._attached(known), place.device)
        expect_own_namespace(
            self._namespaces, ref, (each for each in self._book.all() if each is not known)
        )
        if known.device:
            return known
        expect_free_device(self._namespaces, known, place, ref)
        named = replace(ref, descriptor=NO_DESCRIPTOR)
        return replace(known, device=place.device, namespace=named, known_as=place.known_as)

    def _unplace(self, known: KeptAttachment) -> None:
        """The loop has undone the link, or will; what is kept follows."""
        self._book.keep(known)
        with suppress(AttachUnavailable):
            self._book.write(known)

    def _await(self, reply: Reply[Outcome], deadline: float) -> None:
        outcome = reply.wait(deadline - self._clock.monotonic())
        if outcome is None:
            raise AttachUnavailable(BUSY)
        if isinstance(outcome, AttachError):
            raise outcome
        self._mtu = outcome.mtu

    def _attached(self, attachment: KeptAttachment) -> Attached:
        return Attached(
            attachment.container,
            attachment.addresses,
            attachment.interface,
            attachment.mac,
            self._mtu,
            attachment.device,
        )

    def _drop(self, container: ContainerId) -> None:
        self._book.drop(container)
        self._partners.tell_loop(AttachmentForgotten(container))
