"""What the threads that serve requests ask of the loop, and how they are answered."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from calico.dataplane.changes import NamespaceRef
from calico.datastore.api import Revision
from calico.model import ContainerId, TaskId
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.attach.api import AttachError
from reconciler.runtime.conditions import Conditions

Answer = TypeVar("Answer")


class Reply(Generic[Answer]):
    """One answer from one thread to another, which may give up waiting for it.

    Exactly one of them has the last word: either the answer was taken, or it
    was abandoned and whoever answers undoes what it did.
    """

    def __init__(self, conditions: Conditions = threading.Condition) -> None:
        self._changed = conditions()
        self._answer: Answer | None = None
        self._abandoned = False

    def settle(self, answer: Answer) -> bool:
        """Answer; False if nobody waits for it any more."""
        with self._changed:
            if self._abandoned:
                return False
            self._answer = answer
            self._changed.notify_all()
        return True

    def wait(self, timeout: float) -> Answer | None:
        """The answer, None if there was none in time: then it is abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None, max(0.0, timeout))
            self._abandoned = self._answer is None
            return self._answer

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        with self._changed:
            return self._abandoned


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for is so; `mtu` is that of the container's link."""

    mtu: int


#: What came of a request that the loop carried out.
Outcome = Done | AttachError


@dataclass(frozen=True, slots=True)
class AttachmentKept:
    """This is what is kept of a container; nobody waits for its link."""

    attachment: KeptAttachment


@dataclass(frozen=True, slots=True)
class AttachAsked:
    """Make a container's link until `deadline`, monotonic, or leave nothing of it.

    `namespace` has an open descriptor that the loop gives to `close`. What is
    not `fresh` was there before and stays whatever comes of the request.
    """

    attachment: KeptAttachment
    namespace: NamespaceRef
    fresh: bool
    deadline: float
    reply: Reply[Outcome]
    close: Callable[[int], None] = os.close


@dataclass(frozen=True, slots=True)
class DetachAsked:
    """Take a container's link away."""

    container: ContainerId
    reply: Reply[Outcome]


@dataclass(frozen=True, slots=True)
class CheckAsked:
    """Tell whether the kernel has a container's link."""

    container: ContainerId
    reply: Reply[Outcome]


@dataclass(frozen=True, slots=True)
class AttachmentForgotten:
    """Nothing of a container is left to be remembered."""

    container: ContainerId


@dataclass(frozen=True, slots=True)
class TasksTold:
    """What the host's Mesos agent says that containers run; if it says nothing, why."""

    tasks: Mapping[ContainerId, frozenset[TaskId]] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class SeenLost:
    """By two looks at the datastore a container's addresses are no longer its own."""

    container: ContainerId


AttachMessage = (
    AttachmentKept
    | AttachAsked
    | DetachAsked
    | CheckAsked
    | AttachmentForgotten
    | TasksTold
    | SeenLost
)


def _nothing() -> None:
    """Leave it undone."""


@dataclass(frozen=True, slots=True)
class Chores:
    """What the loop leaves to others, because it takes time; none of them blocks.

    `claimed` are containers that a task has claimed for the first time, `ended`
    those whose namespace is gone, `lost` those whose addresses are no longer their
    own, `forgettable` detached ones that an endpoint named and none does any more,
    `unclaimed` those of which it is to be found out which tasks they run. `doubted`
    hears in each pass why the datastore is not to be acted on, or no address is to
    be taken from it, empty if all may be; `seen`, up to which index all is known of
    it that is acted on. `judged` is for each time that it was found to be the store that
    was believed, or to have taken that over, by a list of all blocks.
    """

    claimed: Callable[[ContainerId], None]
    ended: Callable[[ContainerId], None]
    lost: Callable[[ContainerId], None]
    forgettable: Callable[[ContainerId], None]
    unclaimed: Callable[[frozenset[ContainerId]], None]
    doubted: Callable[[str], None]
    seen: Callable[[Revision], None]
    judged: Callable[[], None] = _nothing


def _nobody(_: object) -> None:
    """Leave it undone."""


#: For a host on which no container asks for its network.
NO_CHORES = Chores(_nobody, _nobody, _nobody, _nobody, _nobody, _nobody, _nobody)
