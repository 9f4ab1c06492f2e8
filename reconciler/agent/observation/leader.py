"""Looks at who leads, in a thread of its own, until a leader has vouched for the store."""

from collections.abc import Callable

from calico.codec import decode_leader
from calico.datastore.api import Datastore
from calico.errors import DatastoreError, InvalidValue
from calico.keys import LEADER
from reconciler.agent.vouching import LeaderSeen
from reconciler.runtime.signals import Stop

#: Seconds between the first few looks, and while a leader gives addresses; and
#: between others: etcd takes long for each where it asks who asks.
SOON, LOOK_EVERY = 1.0, 5.0
FEW = 5


class LeaderReader:
    """Tells the loop of the leader; the key is no one's to watch, as it changes all the time."""

    def __init__(
        self,
        datastore: Datastore,
        post: Callable[[LeaderSeen], None],
        is_over: Callable[[], bool],
    ) -> None:
        """`is_over` tells whether nobody needs to know any more."""
        self._datastore = datastore
        self._post = post
        self._is_over = is_over

    def run(self, stop: Stop) -> None:
        """Look until stopped, or until that is over."""
        looks = 0
        while not (stop.is_set() or self._is_over()):
            seen = self.look()
            self._post(seen)
            looks += 1
            stop.wait(SOON if looks < FEW or seen.may_vouch else LOOK_EVERY)

    def look(self) -> LeaderSeen:
        """Who leads now."""
        try:
            stored = self._datastore.get(LEADER)
            if stored is None:
                return LeaderSeen()
            return LeaderSeen(decode_leader(stored.value), stored.revision)
        except (DatastoreError, InvalidValue) as error:
            return LeaderSeen(why=f"{LEADER} cannot be read: {error}")
