"""Follows one prefix of the datastore and hands what it sees to a loop."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from calico.datastore.api import (
    Datastore,
    Key,
    Listing,
    Put,
    Removed,
    Revision,
    WatchEvent,
    WatchEvents,
)
from calico.errors import DatastoreError, HistoryLost
from calico.keys import READY
from reconciler.runtime.clock import SYSTEM_CLOCK, Clock
from reconciler.runtime.signals import Stop
from reconciler.runtime.threads import start_thread

#: Seconds that one watch waits for an event before it is asked anew, with the
#: same revision: a half-open connection must not hold it for ever, nor may a
#: member that is cut off from the others and hears of nothing.
WATCH_TIMEOUT = 30.0
LONGEST_BACKOFF = 5.0
#: Seconds that a watch must have lived for its end to be no reason to pause.
GOOD_AFTER = 5.0
NEVER = Revision(0)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything below a prefix, complete, as it was `asked` for at this time, monotonic."""

    prefix: Key
    listing: Listing
    asked: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Changed:
    """One event below a prefix, in the store's order."""

    prefix: Key
    event: WatchEvent


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The datastore does not serve this prefix at the moment."""

    prefix: Key
    reason: str


FeedMessage = Loaded | Changed | Unreachable


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Up to an index of the store nothing else changed below a prefix than was told."""

    prefix: Key
    reached: Revision


def _ignore(_: Bookmark) -> None:
    """Of no use to most."""


class WatchFeed:
    """Lists a prefix, then watches it; lists anew whenever events may be missing.

    Runs in a thread of its own, with a datastore of its own. That nothing changes
    is believed only as long as the datastore answers for all its members.
    """

    def __init__(
        self,
        prefix: Key,
        open_datastore: Callable[[], Datastore],
        post: Callable[[FeedMessage], None],
        stop: Stop,
        clock: Clock = SYSTEM_CLOCK,
        timeout: float = WATCH_TIMEOUT,
        post_bookmark: Callable[[Bookmark], None] = _ignore,
    ) -> None:
        """`timeout` is for how long it is believed that nothing changes."""
        self._post_bookmark = post_bookmark
        self._prefix = prefix
        self._timeout = timeout
        self._clock = clock
        self._open = open_datastore
        self._post = post
        self._stop = stop
        self._told = ""
        self._is_doubted = False

    def read_anew(self) -> None:
        """List all again once what is watched for has come or not; any thread may ask."""
        self._is_doubted = True

    def start(self) -> threading.Thread:
        """Start following in a daemon thread."""
        return start_thread(f"watch {self._prefix}", self.run)

    def run(self) -> None:
        """Follow until stopped."""
        retrying = Retrying(
            retry=retry_if_exception_type(DatastoreError),
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_BACKOFF),
            sleep=self._sleep,
            before_sleep=self._tell_failure,
        )
        while not self._stop.is_set():
            # One Retrying per listing: its backoff starts small again after success.
            retrying.copy()(self._list_and_watch)

    def _list_and_watch(self) -> None:
        if self._stop.is_set():
            return
        datastore = self._open()
        self._is_doubted = False
        asked = self._clock.monotonic()
        listing = datastore.list(self._prefix)
        self._told = ""
        self._post(Loaded(self._prefix, listing, asked))
        after = listing.revision
        ready = next((each.revision for each in listing.entries if each.key == READY), NEVER)
        started = self._clock.monotonic()
        try:
            while not self._stop.is_set():
                events = WatchEvents(datastore.watch(self._prefix, after, self._timeout))
                for event in events:
                    match event:
                        case Put(stored):
                            after = stored.revision
                            ready = after if stored.key == READY else ready
                        case Removed(_, revision):
                            after = revision
                    self._post(Changed(self._prefix, event))
                    if self._stop.is_set():
                        return
                if self._is_doubted or self._has_missed(datastore, ready):
                    return
                self._post_bookmark(Bookmark(self._prefix, events.reached))
        except HistoryLost:
            return
        except DatastoreError as error:
            if self._clock.monotonic() - started < GOOD_AFTER:
                raise
            # A good watch is behind us: the next listing comes at once.
            self._tell(error)

    def _has_missed(self, datastore: Datastore, ready: Revision) -> bool:
        """Whether a key was written unheard; `ready` is when that was written last, as heard.

        Also in a store that was wiped: a watch that begins only once the index
        has caught up goes on in it. A read by quorum fails where nothing can be
        heard: raises DatastoreError.
        """
        found = datastore.get(READY)
        if not READY.startswith(f"{self._prefix}/"):
            return False
        return ready != (NEVER if found is None else found.revision)

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _tell_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        reason = str(error)
        if reason != self._told:
            self._told = reason
            self._post(Unreachable(self._prefix, reason))


def read_anew(feeds: Iterable[WatchFeed]) -> None:
    """Have all of these list anew."""
    for feed in feeds:
        feed.read_anew()
