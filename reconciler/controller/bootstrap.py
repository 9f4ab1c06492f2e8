"""The keys that a first start writes, as calico-node of the era would.

Everything is written only where nothing is: an operator's settings stay.
"""

import json
import uuid
from collections.abc import Sequence

from netaddr import IPNetwork

from calico.codec import encode_ipam_config, encode_pool
from calico.datastore.api import ABSENT, Datastore, Key
from calico.errors import Conflict
from calico.keys import CLUSTER, CLUSTER_GUID, POOLS, READY, check_host, ipam_config_key, pool_key
from calico.model import HostRecord, IpamConfig, Pool

DEFAULT_POOL = Pool(IPNetwork("192.168.0.0/16"), masquerade=True)
SCHEMA = 1

#: Without InterfacePrefix Felix owns no interface. ReportingIntervalSecs 0 is
#: what the Python calicoctl sets.
CONFIG = {
    "InterfacePrefix": "cali",
    "LogSeverityFile": "none",
    "LogSeverityScreen": "info",
    "LogFilePath": "none",
    "IpInIpEnabled": "false",
    "ReportingIntervalSecs": "0",
}


def bootstrap(datastore: Datastore, pools: Sequence[Pool]) -> None:
    """Write what Calico's tools and the agents expect; Ready comes last."""
    create(datastore, CLUSTER_GUID, uuid.uuid4().hex)
    for name, value in CONFIG.items():
        create(datastore, Key(f"/calico/v1/config/{name}"), value)
    create(datastore, Key("/calico/bgp/v1/global/as_num"), "64511")
    create(datastore, Key("/calico/bgp/v1/global/node_mesh"), '{"enabled": true}')
    create(datastore, ipam_config_key(), encode_ipam_config(IpamConfig()))
    for pool in pools:
        create(datastore, pool_key(pool), encode_pool(pool))
    if not pools and not datastore.list(POOLS).entries:
        create(datastore, pool_key(DEFAULT_POOL), encode_pool(DEFAULT_POOL))
    cluster = {"schema": SCHEMA, "uuid": uuid.uuid4().hex}
    create(datastore, CLUSTER, json.dumps(cluster, sort_keys=True))
    create(datastore, READY, "true")


def bootstrap_host(datastore: Datastore, host: HostRecord) -> None:
    """Write what a calico-node start on this host would; an address may change."""
    name = check_host(host.name)
    keep(datastore, Key(f"/calico/v1/host/{name}/bird_ip"), str(host.address))
    # A Mesos executor must reach its agent on the host: Felix's own default drops it.
    config = f"/calico/v1/host/{name}/config"
    create(datastore, Key(f"{config}/DefaultEndpointToHostAction"), "RETURN")
    create(datastore, Key(f"{config}/marker"), "created")
    bgp = f"/calico/bgp/v1/host/{name}"
    keep(datastore, Key(f"{bgp}/ip_addr_v4"), str(host.address))
    create(datastore, Key(f"{bgp}/ip_addr_v6"), "")


def keep(datastore: Datastore, key: Key, value: str) -> None:
    """Make a key say this."""
    stored = datastore.get(key)
    if stored is None or stored.value != value:
        datastore.put(key, value, expect=ABSENT if stored is None else stored.revision)


def create(datastore: Datastore, key: Key, value: str) -> None:
    """Write a key unless it exists."""
    if datastore.get(key) is not None:
        return
    try:
        datastore.put(key, value, expect=ABSENT)
    except Conflict:
        return
