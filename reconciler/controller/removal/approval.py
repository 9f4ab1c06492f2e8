"""An operator's word on what waits; the only thing that the command line writes there."""

from dataclasses import replace

from calico.cluster import HoldRecord
from calico.codec import decode_hold, encode_hold
from calico.datastore.api import Datastore
from calico.errors import Conflict, InvalidValue
from calico.keys import hold_key


def approve(datastore: Datastore, shown: HoldRecord) -> bool:
    """Let exactly this go, as it was shown; False if something else waits by now.

    Raises DatastoreError.
    """
    key = hold_key(shown.kind)
    stored = datastore.get(key)
    if stored is None:
        return False
    try:
        held = decode_hold(shown.kind, stored.value)
    except InvalidValue:
        return False
    if held.plan != shown.plan:
        return False
    text = encode_hold(replace(held, approved=held.plan))
    try:
        datastore.put(key, text, expect=stored.revision)
    except Conflict:
        return False
    return True
