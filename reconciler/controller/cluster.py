"""The cluster's own record: its uuid, and what was pinned once for good.

Health checks come from Marathon's addresses. They become part of every app's
profile, so they are resolved once and kept: a name that resolves to something
else for a moment must not rewrite every profile of the cluster.
"""

import json
from collections.abc import Collection

from netaddr import AddrFormatError, IPNetwork

from calico.datastore.api import ABSENT, Datastore
from calico.errors import InvalidValue
from calico.keys import CLUSTER


def pinned_sources(
    datastore: Datastore, asked: Collection[IPNetwork] | None, resolved: Collection[IPNetwork]
) -> tuple[IPNetwork, ...]:
    """The networks that may reach every task's openings.

    Exactly those `asked` for by flag; without the flag those pinned before and
    those `resolved` now, which are pinned with them. Raises InvalidValue if the
    record in the datastore cannot be read.
    """
    stored = datastore.get(CLUSTER)
    try:
        record = {} if stored is None else json.loads(stored.value)
        pinned = [IPNetwork(text) for text in record.get("allow_from", ())]
    except (ValueError, TypeError, AttributeError, AddrFormatError) as error:
        raise InvalidValue(f"{CLUSTER} cannot be read; repair or remove it: {error}") from error
    wanted = tuple(dict.fromkeys((*pinned, *resolved) if asked is None else asked))
    if list(wanted) != pinned or stored is None:
        record["allow_from"] = [str(network) for network in wanted]
        expect = ABSENT if stored is None else stored.revision
        datastore.put(CLUSTER, json.dumps(record, sort_keys=True), expect=expect)
    return wanted
