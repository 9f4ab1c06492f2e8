"""The seam between those who ask for a container's network and the agent that makes it.

A container is attached before its first instruction runs, when no controller
knows of it yet: it has its address then, and reaches and is reached by nobody
but its own host. The task's endpoint, once it is written, opens it.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from netaddr import EUI, IPAddress

from calico.dataplane.state import TASK_INTERFACE
from calico.model import ContainerId, InterfaceName

#: Seconds within which every request is answered, with a result or an error.
ANSWER_WITHIN = 2.0


class AttachError(Exception):
    """The request cannot be carried out; the message is one line for the user.

    Nothing that it began is left: no link, no address.
    """


class AttachRefused(AttachError):
    """Asking again in the same words will not help: the request itself is wrong."""


class AttachUnavailable(AttachError):
    """It may work later: the datastore, the kernel or the agent is not ready."""


class UnknownContainer(AttachError):
    """The container was never attached here, or is detached already."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a container should get: its fixed addresses, or one of each family that has a pool.

    `count4` and `count6` are how many are wanted beside the fixed ones, None for
    what the pools say: one each.
    """

    fixed: tuple[IPAddress, ...] = ()
    count4: int | None = None
    count6: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container's network is to be made.

    `descriptor` is an open network namespace, or -1 to take that of process
    `pid`; whoever asks keeps both alive until the answer. `path` is where the
    namespace is found later, as the one who asks sees it, empty if nowhere.
    `device` is the name of the interface inside. `known_as` is a second id, by
    which the container is found too: net-modules gives addresses to a number
    that it draws, and takes them away by Mesos' container id.
    """

    descriptor: int = -1
    pid: int = 0
    path: str = ""
    device: str = TASK_INTERFACE
    known_as: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """What a container has; `interface` is the host's side.

    `device` is empty while it has addresses but no link yet.
    """

    container: ContainerId
    addresses: tuple[IPAddress, ...]
    interface: InterfaceName
    mac: EUI
    mtu: int
    device: str = ""


class Attacher(Protocol):
    """Gives containers their networks; every call may come again, from any thread.

    All raise AttachError within ANSWER_WITHIN seconds.
    """

    def in_time(self) -> AbstractContextManager[None]:
        """Have all calls that the thread makes meanwhile take no longer than one of them may."""
        ...

    def allocate(self, container: ContainerId, wish: Wish) -> Attached:
        """Give addresses; asked again, the same ones."""
        ...

    def attach(self, container: ContainerId, place: Place) -> Attached:
        """Make the link of a container that has addresses, closed but for its host."""
        ...

    def detach(self, container: ContainerId, device: str = "") -> bool:
        """Take link and addresses away; False if there was nothing to take.

        A link that has another name inside than `device` stays, if one is given.
        """
        ...

    def check(self, container: ContainerId) -> Attached:
        """What a container has, if the kernel has it too; raises UnknownContainer."""
        ...

    def find(self, sign: IPAddress | str) -> ContainerId | None:
        """The container that holds this address, or was attached as known by this id."""
        ...
