"""What is pinned for the cluster as a whole: read, and written anew where it cannot be."""

from calico.addressing.handles import draw_text
from calico.cluster import ClusterRecord, Takeover
from calico.codec import decode_chain, decode_cluster, encode_cluster
from calico.datastore.api import Datastore
from calico.errors import Conflict, InvalidValue, UnknownSchema
from calico.keys import CHAIN, CLUSTER
from reconciler.controller.stored import Kept


class UnreadablePin(InvalidValue):
    """Whose cluster this is cannot be read, so nobody's word on it counts."""


def read_pinned(datastore: Datastore) -> Kept[ClusterRecord] | None:
    """What is pinned; None if nothing is yet.

    Raises UnreadablePin, which is no first install; UnknownSchema, which is no
    damage; and DatastoreError.
    """
    stored = datastore.get(CLUSTER)
    if stored is None:
        return None
    try:
        return Kept(parse_pinned(stored.value), stored.revision)
    except UnreadablePin as error:
        raise UnreadablePin(f"{CLUSTER} {error}") from error


def parse_pinned(text: str) -> ClusterRecord:
    """The record; raises UnreadablePin with what to do about it, and UnknownSchema."""
    try:
        return decode_cluster(text)
    except UnknownSchema:
        raise
    except InvalidValue as error:
        raise UnreadablePin(
            f"cannot be read, so that nothing is added and nothing removed: {error}; "
            "`marathon-calico cluster adopt --yes` writes it anew"
        ) from error


def pin_anew(datastore: Datastore) -> bool:
    """Write anew what cannot be read, with the takeovers that agents were told of.

    Marathon's next answer tells the framework. False if there is nothing to
    write anew by now. Raises DatastoreError.
    """
    stored = datastore.get(CLUSTER)
    if stored is None:
        return False
    try:
        decode_cluster(stored.value)
    except UnknownSchema:
        return False
    except InvalidValue:
        record = ClusterRecord(uuid=draw_text(), chain=_published(datastore))
        try:
            datastore.put(CLUSTER, encode_cluster(record), expect=stored.revision)
        except Conflict:
            return False
        return True
    return False


def _published(datastore: Datastore) -> tuple[Takeover, ...]:
    told = datastore.get(CHAIN)
    try:
        return () if told is None else decode_chain(told.value)
    except InvalidValue:
        # Agents that have seen more will object, and are asked what they hold.
        return ()
