"""etcd as tests find it that play the controller themselves."""

from calico.codec import encode_pool, encode_rules, encode_tags
from calico.datastore.etcd import EtcdDatastore
from calico.keys import CLUSTER_GUID, READY, pool_key, profile_key
from calico.model import Profile
from tests.dataplane_worlds import POOL, group, openings


def first_store(etcd: str, port: int, *groups: str) -> EtcdDatastore:
    """As the controller's first start leaves it, with some groups whose apps open a port."""
    store = EtcdDatastore([etcd])
    store.put(CLUSTER_GUID, "one")
    store.put(pool_key(POOL), encode_pool(POOL))
    for name in groups:
        _put_profile(store, group(name))
        _put_profile(store, openings(f"app-{name}", name, port))
    store.put(READY, "true")
    return store


def _put_profile(store: EtcdDatastore, profile: Profile) -> None:
    """Write what agents read of a profile."""
    store.put(profile_key(profile.id, "tags"), encode_tags(profile))
    store.put(profile_key(profile.id, "rules"), encode_rules(profile))
