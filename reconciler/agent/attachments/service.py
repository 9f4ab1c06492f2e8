"""Puts together what serves containers on one host, and runs it."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from calico.datastore.api import Datastore
from calico.model import ContainerId, HostName, TaskId
from reconciler.agent.attachments.allocator import Allocator, Job
from reconciler.agent.attachments.attacher import HostAttacher, Partners
from reconciler.agent.attachments.block_writes import (
    BlockRefused,
    BlockWritten,
    NotifyingDatastore,
)
from reconciler.agent.attachments.files import AttachmentFiles, KeptAttachment
from reconciler.agent.attachments.keeper import (
    Asker,
    Claimed,
    Ended,
    Forgettable,
    Keeper,
    Lost,
)
from reconciler.agent.attachments.places import KernelNamespaces, Namespaces
from reconciler.agent.attachments.requests import AttachMessage, Chores, Reply, SeenLost
from reconciler.agent.observation.evidence import StillHeld
from reconciler.attach.listening import SocketTaken
from reconciler.attach.plugin import SOCKET
from reconciler.attach.server import AttachServer, Refused, Translator
from reconciler.runtime.clock import Clock
from reconciler.runtime.conditions import Conditions
from reconciler.runtime.threads import start_thread

log = logging.getLogger(__name__)

TasksByContainer = Callable[[], Mapping[ContainerId, frozenset[TaskId]]]


class AttachService:
    """The threads beside the loop that containers need."""

    def __init__(
        self,
        host: HostName,
        files: AttachmentFiles,
        datastore: Datastore,
        clock: Clock,
        tell_loop: Callable[[AttachMessage | BlockWritten | BlockRefused], None],
        mtu: int,
        still_held: StillHeld,
        tasks_by_container: TasksByContainer,
        namespaces: Namespaces | None = None,
        conditions: Conditions = threading.Condition,
        read_anew: Callable[[], None] = lambda: None,
    ) -> None:
        """`datastore` is the allocator's alone, as is `tasks_by_container` the asker's.

        Without `namespaces` they are the kernel's. `read_anew` has the feeds do so.
        """
        self._files = files
        self._tell_loop = tell_loop
        there = namespaces or KernelNamespaces()
        partners = Partners(tell_loop, self._allot, self._ask)
        self.attacher = HostAttacher(
            files, partners, clock, mtu, namespaces=there, conditions=conditions
        )
        self.keeper = Keeper(self.attacher, clock, still_held, there.exists, conditions)
        notifying = NotifyingDatastore(datastore, self._tell_of_block, clock, read_anew)
        self.allocator = Allocator(
            host,
            notifying,
            clock,
            self.attacher.is_known,
            self.attacher.attachments,
            lambda container: tell_loop(SeenLost(container)),
            conditions,
        )
        self.asker = Asker(tasks_by_container, tell_loop, conditions)
        self.chores = Chores(
            lambda container: self.keeper.post(Claimed(container)),
            lambda container: self.keeper.post(Ended(container)),
            lambda container: self.keeper.post(Lost(container)),
            lambda container: self.keeper.post(Forgettable(container)),
            self.asker.post,
            self.allocator.note_doubt,
            notifying.note_seen,
            notifying.note_judged,
        )

    def _tell_of_block(self, told: BlockWritten | BlockRefused) -> None:
        # Else the index may be of another store than the loop will know of then.
        if isinstance(told, BlockRefused) or not self.allocator.was_doubted:
            self._tell_loop(told)

    def _allot(self, job: Job) -> None:
        self.allocator.post(job)

    def _ask(self, container: ContainerId, reply: Reply[str]) -> None:
        self.asker.ask(container, reply)

    def restore(self) -> tuple[KeptAttachment, ...]:
        """What an earlier run gave to containers; before anything else."""
        attachments = self._files.read()
        self.attacher.restore(attachments)
        return attachments

    @contextmanager
    def serving(
        self,
        socket: Path | None,
        translators: Mapping[str, Translator],
        stop: threading.Event,
        refused: Refused,
    ) -> Iterator[None]:
        """Serve while the body runs; raises SocketTaken.

        Without a socket of the operator's choice, an agent that cannot have the
        usual one does without: not every host has plugins.
        """
        start_thread("allocator", partial(self.allocator.run, stop))
        start_thread("keeper", partial(self.keeper.run, stop))
        start_thread("asker", partial(self.asker.run, stop))
        with ExitStack() as stack:
            try:
                stack.enter_context(
                    AttachServer(
                        socket or Path(SOCKET), self.attacher, translators, refused=refused
                    )
                )
            except SocketTaken as error:
                if socket is not None:
                    raise
                log.warning("no socket for plugins", extra={"why": str(error)})
            yield
