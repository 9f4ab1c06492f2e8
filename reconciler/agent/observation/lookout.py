"""Lets others see the kernel as the agent sees it, over HTTP and read only.

The loop alone looks at the kernel, so whoever asks leaves a message and waits.
However many ask, the loop looks at most once a second, and gives at most a
tenth of its time to it on a host where looking takes long.
"""

import logging
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from netaddr import AddrFormatError, IPAddress

from calico.dataplane.state import SeenTaskLink
from calico.errors import DataplaneError
from calico.model import InterfaceName
from reconciler.core.kernels.host_page import chains_of_host, host_page
from reconciler.core.kernels.look import Look
from reconciler.core.kernels.task_page import (
    Counts,
    chains_of_task,
    is_known,
    link_of_task,
    task_page,
)
from reconciler.core.kernels.verdict import kernel_verdict
from reconciler.core.reaching.reach import first_packet
from reconciler.runtime.clock import Clock
from reconciler.runtime.listener import Ask, Page

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
#: The share of the loop's time that looks for others may take is one in this.
TIMES_OF_LOOKING = 10.0
#: Seconds after which nobody is likely to ask again about the same look.
KEEP = 5.0
#: Seconds that who asks waits for the loop, which may be bringing in a change.
PATIENCE = 2.5

#: What was seen, or in a sentence why nothing was.
Sight = Look | str


@dataclass(frozen=True, slots=True)
class LookAsked:
    """Somebody wants to know what the kernel holds; `answer` never blocks."""

    answer: Callable[[Sight], None]


class Lookout:
    """Answers whoever asks for a look; owned by the loop's thread."""

    def __init__(self, look: Callable[[], Look | None], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._seen: Sight | None = None
        self._again = clock.monotonic()

    def answer(self, asked: Sequence[LookAsked], problems: tuple[str, ...]) -> bool:
        """Answer all at once; tells whether the kernel was seen not to be as it should."""
        fresh = self._seen is None or self._clock.monotonic() >= self._again
        if fresh:
            self._seen = self._see(problems)
        for each in asked:
            each.answer(self._seen or "")
        return fresh and isinstance(self._seen, Look) and not _as_desired(self._seen)

    def forget_old(self) -> None:
        """Let go of a look that is old: on a large host it takes room."""
        if self._clock.monotonic() >= self._again + KEEP:
            self._seen = None

    def _see(self, problems: tuple[str, ...]) -> Sight:
        began = self._clock.monotonic()
        try:
            look = self._look()
        except DataplaneError as error:
            return f"the kernel cannot be read: {error}"
        finally:
            ended = self._clock.monotonic()
            self._again = ended + max(LOOK_EVERY, TIMES_OF_LOOKING * (ended - began))
        return "the datastore is not yet read" if look is None else replace(look, problems=problems)


class Inspector(Protocol):
    """Reads what the loop does not look at; called in any thread."""

    def link(self, name: InterfaceName) -> SeenTaskLink | None:
        """Both sides of a task's link, None if there is none; raises DataplaneError."""
        ...

    def counts(self, chains: Iterable[str]) -> Counts:
        """What the rules of some chains have counted; raises DataplaneError."""
        ...


class KernelPages:
    """The pages that tell of the kernel; called in the server's threads."""

    def __init__(
        self,
        post: Callable[[LookAsked], None],
        inspector: Inspector,
        patience: float = PATIENCE,
    ) -> None:
        self._post = post
        self._inspector = inspector
        self._patience = patience

    def readers(self) -> Mapping[str, Callable[[Ask], Page]]:
        """The pages by path; one that ends in a slash is followed by a task's id."""
        return {
            "/kernel": self.host,
            "/kernel/tasks/": self.task,
            "/kernel/verdict": self.verdict,
        }

    def host(self, ask: Ask) -> Page:
        """The host as a whole, with every difference."""
        look = self._looked(ask)
        if isinstance(look, Page):
            return look
        return Page(True, asdict(host_page(look, self._counts(chains_of_host(look)))))

    def task(self, ask: Ask) -> Page:
        """One task: its link, both sides, its routes, chains and sets."""
        look = self._looked(ask)
        if isinstance(look, Page):
            return look
        if not is_known(look, ask.rest):
            return _refusal(
                404, f"host {look.host} has no task {ask.rest!r}, and none is asked of it"
            )
        link = link_of_task(look, ask.rest)
        seen, unread = None, ""
        try:
            seen = self._inspector.link(link.name) if link is not None else None
        except DataplaneError as error:
            unread = str(error)
        counts = self._counts(chains_of_task(look, ask.rest))
        return Page(True, asdict(task_page(look, ask.rest, seen, counts, unread)))

    def verdict(self, ask: Ask) -> Page:
        """What the kernel does with the first packet of a connection."""
        look = self._looked(ask)
        if isinstance(look, Page):
            return look
        try:
            source, destination = (IPAddress(ask.query[end]) for end in ("source", "destination"))
            protocol = int(ask.query["protocol"])
            port = int(ask.query["port"]) if "port" in ask.query else None
        except (AddrFormatError, KeyError, ValueError) as error:
            return _refusal(400, f"source, destination and protocol are asked for: {error}")
        if source.version != destination.version:
            return _refusal(400, "source and destination are of one family")
        told = kernel_verdict(look, first_packet(source, destination, protocol, port))
        at = {"host": look.host, "looked_at": look.at, "revision": look.revision}
        return Page(True, at | asdict(told))

    def _counts(self, chains: Sequence[str]) -> Counts:
        """Counts are the least of what is told: without them the rest still is."""
        try:
            return self._inspector.counts(chains)
        except DataplaneError as error:
            log.warning("rules not counted", extra={"why": str(error)})
            return {}

    def _looked(self, ask: Ask) -> Look | Page:
        """What the loop sees now, or why it is not told."""
        answers: queue.SimpleQueue[Sight] = queue.SimpleQueue()
        self._post(LookAsked(answers.put))
        try:
            sight = answers.get(timeout=self._patience)
        except queue.Empty:
            return _refusal(503, f"the agent is busy and has not looked for {self._patience:g} s")
        if isinstance(sight, str):
            return _refusal(503, sight)
        if _is_a_tasks(sight, ask.peer):
            return _refusal(403, "tasks are not told of the kernel")
        return sight


def _refusal(status: int, reason: str) -> Page:
    return Page(False, {"reason": reason}, status)


def _as_desired(look: Look) -> bool:
    return look.observed == look.desired


def _is_a_tasks(look: Look, peer: IPAddress) -> bool:
    """Whether an address may be a task's; the rules of the kernel refuse it before."""
    if any(peer in pool.cidr for pool in look.snapshot.pools):
        return True
    return any(peer in spec.addresses for spec in look.snapshot.specs.values())
