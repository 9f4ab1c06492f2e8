"""The mirror holds what the store holds, whatever way it got there."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import EUI, IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.datastore.api import ABSENT, Key, Listing, Put, Removed, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.mirror import Mirror, Passages
from calico.model import (
    BootId,
    EndpointId,
    EndpointSpec,
    HandleId,
    HostName,
    HostRecord,
    InterfaceName,
    Pool,
    ProfileId,
    Snapshot,
)
from calico.names import reservation_of

PREFIXES = (keys.CALICO, keys.BLOCKS, keys.HOSTS)
HOST = HostName("h")
MAC = EUI("02:00:00:00:00:01")
BLOCK = IPNetwork("10.0.0.0/26")
POOL = Pool(IPNetwork("10.0.0.0/16"))
RULES = '{"inbound_rules": [], "outbound_rules": []}'
POLICY_KEY = Key("/calico/v1/policy/tier/default/policy/web")
HOST_ENDPOINT_KEY = Key("/calico/v1/host/h/endpoint/eth0")
SELECT_ALL = '{"selector": "all()"}'


def endpoint_id(number: int) -> EndpointId:
    return EndpointId(HOST, "mesos", f"web.{number}", f"{number:032x}")


def spec(number: int) -> EndpointSpec:
    address = IPAddress("10.0.0.0") + number
    return EndpointSpec(endpoint_id(number), InterfaceName("cali1"), MAC, (address,))


def put(key: Key, value: str, revision: int) -> Put:
    return Put(Stored(key, value, Revision(revision)))


def put_spec(number: int, revision: int) -> Put:
    return put(
        keys.endpoint_key(endpoint_id(number)), codec.encode_endpoint(spec(number)), revision
    )


def listing(revision: int, *puts: Put) -> Listing:
    return Listing(Revision(revision), tuple(each.stored for each in puts))


def loaded(revision: int, *puts: Put) -> Mirror:
    mirror = Mirror()
    for prefix in PREFIXES:
        mine = [each for each in puts if each.stored.key.startswith(prefix + "/")]
        mirror.load(prefix, listing(revision, *mine))
    return mirror


def test_everything_below_the_prefixes_becomes_values() -> None:
    host = HostRecord(HOST, IPAddress("172.16.0.1"), BootId("b"), "m", "1")
    mirror = loaded(
        9,
        put_spec(1, 5),
        put(keys.profile_key(ProfileId("web"), "tags"), '["web"]', 2),
        put(keys.profile_key(ProfileId("web"), "rules"), RULES, 3),
        put(keys.pool_key(POOL), codec.encode_pool(POOL), 4),
        put(keys.block_key(BLOCK), codec.encode_block(ipam.new_block(BLOCK, HOST)), 6),
        put(keys.host_key(HOST), codec.encode_host(host), 7),
        put(keys.READY, "true", 8),
        put(Key("/calico/v1/config/LogSeverityFile"), "none", 1),
    )
    snapshot = mirror.snapshot()
    assert snapshot.revision == 9
    assert snapshot.specs == {endpoint_id(1): spec(1)}
    assert snapshot.spec_revisions == {endpoint_id(1): 5}
    assert snapshot.profiles[ProfileId("web")].tags == ("web",)
    assert snapshot.profiles[ProfileId("web")].problem == ""
    assert snapshot.pools == (POOL,)
    assert snapshot.block_hosts == {BLOCK: HOST}
    assert snapshot.hosts == {HOST: host}
    assert mirror.ready
    assert mirror.problems() == {}


def test_before_anything_is_loaded_it_is_empty_and_not_ready() -> None:
    mirror = Mirror()
    assert mirror.snapshot() == Snapshot()
    assert not mirror.ready


def test_an_event_changes_what_it_names() -> None:
    mirror = loaded(5, put_spec(1, 4), put_spec(2, 5))
    mirror.apply(put_spec(3, 6))
    mirror.apply(Removed(keys.endpoint_key(endpoint_id(1)), Revision(7)))
    snapshot = mirror.snapshot()
    assert set(snapshot.specs) == {endpoint_id(2), endpoint_id(3)}
    assert snapshot.spec_revisions == {endpoint_id(2): 5, endpoint_id(3): 6}
    assert snapshot.revision == 7


def test_an_event_from_before_the_listing_is_passed_over() -> None:
    mirror = loaded(10, put_spec(1, 9))
    mirror.apply(Removed(keys.endpoint_key(endpoint_id(1)), Revision(8)))
    mirror.apply(put_spec(2, 10))
    assert set(mirror.snapshot().specs) == {endpoint_id(1)}


def test_an_event_of_a_prefix_that_is_not_followed_is_passed_over() -> None:
    mirror = loaded(10)
    mirror.apply(put(keys.LEADER, "x", 11))
    assert mirror.snapshot().revision == 10


def test_the_revision_follows_the_endpoints_not_other_prefixes() -> None:
    mirror = loaded(10)
    block = codec.encode_block(ipam.new_block(BLOCK, HOST))
    mirror.apply(put(keys.block_key(BLOCK), block, 20))
    # An endpoint's removal at 15 may still be on its way.
    assert mirror.snapshot().revision == 10
    mirror.apply(put_spec(1, 15))
    assert mirror.snapshot().revision == 15


def test_a_removed_directory_takes_along_what_is_below_it() -> None:
    other = EndpointId(HostName("h-2"), "mesos", "x", "e")
    far = EndpointSpec(other, InterfaceName("cali2"), MAC, ())
    mirror = loaded(
        5,
        put_spec(1, 3),
        put_spec(2, 4),
        put(keys.endpoint_key(other), codec.encode_endpoint(far), 5),
    )
    mirror.apply(Removed(Key("/calico/v1/host/h"), Revision(6)))
    assert set(mirror.snapshot().specs) == {other}


def test_a_directory_above_takes_along_every_prefix() -> None:
    block = codec.encode_block(ipam.new_block(BLOCK, HOST))
    mirror = loaded(5, put_spec(1, 3), put(keys.block_key(BLOCK), block, 4))
    mirror.apply(Removed(Key("/calico"), Revision(6)))
    assert mirror.snapshot() == Snapshot(revision=6)


def test_a_new_listing_removes_what_is_absent_from_it() -> None:
    mirror = loaded(5, put_spec(1, 3), put_spec(2, 4))
    mirror.load(keys.CALICO, listing(9, put_spec(2, 4), put_spec(3, 8)))
    assert set(mirror.snapshot().specs) == {endpoint_id(2), endpoint_id(3)}


def test_a_listing_that_went_back_is_taken_as_it_is() -> None:
    mirror = loaded(50, put_spec(1, 3))
    restored = put(keys.endpoint_key(endpoint_id(1)), codec.encode_endpoint(spec(7)), 3)
    mirror.load(keys.CALICO, Listing(Revision(4), (restored.stored,)))
    snapshot = mirror.snapshot()
    assert snapshot.revision == 4
    assert snapshot.specs[endpoint_id(1)].addresses == spec(7).addresses
    mirror.apply(put_spec(2, 5))
    assert endpoint_id(2) in mirror.snapshot().specs


def test_what_cannot_be_decoded_is_absent_with_a_reason_until_it_is_mended() -> None:
    key = keys.endpoint_key(endpoint_id(1))
    mirror = loaded(5, put_spec(1, 4))
    mirror.apply(put(key, "{", 6))
    assert mirror.snapshot().specs == {}
    assert "JSON" in mirror.problems()[key]
    mirror.apply(put_spec(1, 7))
    assert set(mirror.snapshot().specs) == {endpoint_id(1)}
    assert mirror.problems() == {}


def test_a_key_that_is_kept_for_an_endpoint_is_none_until_that_is_there() -> None:
    key = keys.endpoint_key(endpoint_id(1))
    reservation = codec.encode_endpoint(reservation_of(endpoint_id(1)))
    mirror = loaded(5)
    before = mirror.snapshot()

    mirror.apply(put(key, reservation, 6))
    assert (mirror.snapshot().specs, mirror.problems()) == ({}, {})
    assert mirror.snapshot().revision == 6 > before.revision
    mirror.apply(put_spec(1, 7))
    assert set(mirror.snapshot().specs) == {endpoint_id(1)}
    # Nobody does this; then its old address counts no more.
    mirror.apply(put(key, reservation, 8))
    assert mirror.snapshot().specs == {}


def test_an_endpoint_that_was_made_inactive_with_its_address_is_one() -> None:
    inactive = codec.encode_endpoint(replace(spec(1), active=False))

    mirror = loaded(5, put(keys.endpoint_key(endpoint_id(1)), inactive, 4))

    assert not mirror.snapshot().specs[endpoint_id(1)].active


def test_a_profile_is_closed_until_its_rules_are_there_and_gone_with_its_last_leaf() -> None:
    web = ProfileId("web")
    mirror = loaded(5)
    mirror.apply(put(keys.profile_key(web, "tags"), '["web"]', 6))
    assert mirror.snapshot().profiles[web].problem
    assert keys.profile_dir(web) in mirror.problems()
    mirror.apply(put(keys.profile_key(web, "rules"), RULES, 7))
    assert not mirror.snapshot().profiles[web].problem
    assert mirror.problems() == {}
    mirror.apply(Removed(keys.profile_key(web, "rules"), Revision(8)))
    assert mirror.snapshot().profiles[web].problem
    mirror.apply(Removed(keys.profile_dir(web), Revision(9)))
    assert mirror.snapshot().profiles == {}
    assert mirror.problems() == {}


def test_a_snapshot_is_the_same_object_until_something_changes() -> None:
    mirror = loaded(5, put_spec(1, 4))
    before = mirror.snapshot()
    assert mirror.snapshot() is before
    mirror.load(keys.CALICO, listing(5, put_spec(1, 4)))
    assert mirror.snapshot() is before
    mirror.apply(put_spec(2, 6))
    after = mirror.snapshot()
    assert set(before.specs) == {endpoint_id(1)}
    assert set(after.specs) == {endpoint_id(1), endpoint_id(2)}
    assert after.profiles is before.profiles


def test_an_allocation_in_a_block_changes_nothing_for_an_agent() -> None:
    block = ipam.new_block(BLOCK, HOST)
    mirror = loaded(5, put(keys.block_key(BLOCK), codec.encode_block(block), 4))
    before = mirror.snapshot()
    changed, _ = ipam.allocate(block, HandleId("web.1"))
    mirror.apply(put(keys.block_key(BLOCK), codec.encode_block(changed), 6))
    assert mirror.snapshot() is before


def test_one_change_decodes_only_what_changed() -> None:
    mirror = loaded(50, *(put_spec(number, number) for number in range(1, 50)))
    before = mirror.snapshot()
    mirror.apply(put_spec(7, 51))
    mirror.load(keys.CALICO, listing(52, *(put_spec(n, 51 if n == 7 else n) for n in range(1, 50))))
    after = mirror.snapshot()
    anew = {each for each in after.specs if after.specs[each] is not before.specs[each]}
    assert anew == {endpoint_id(7)}


junk_keys = st.sampled_from(
    [
        keys.endpoint_key(endpoint_id(1)),
        keys.profile_key(ProfileId("web"), "tags"),
        keys.profile_key(ProfileId("web"), "rules"),
        keys.pool_key(POOL),
        keys.block_key(BLOCK),
        keys.host_key(HOST),
        Key("/calico/v1/host/h/workload/%2f/%25/endpoint/_"),
        Key("/calico/v1/policy/profile/a%2fb/rules"),
        Key("/calico/v1/ipam/v4/pool/x"),
        keys.profile_key(ProfileId("web"), "labels"),
        POLICY_KEY,
        HOST_ENDPOINT_KEY,
        keys.READY,
    ]
)
good = st.sampled_from(
    [
        codec.encode_endpoint(spec(1)),
        '["web"]',
        RULES,
        codec.encode_pool(POOL),
        codec.encode_block(ipam.new_block(BLOCK, HOST)),
        codec.encode_block(ipam.new_block(BLOCK, None)),
        SELECT_ALL,
        '{"role": "db"}',
        '{"name": "eth0"}',
        "true",
    ]
)
texts = good | st.text(max_size=10) | st.integers().map(json.dumps)


def test_tiered_policies_and_host_endpoints_are_followed() -> None:
    mirror = loaded(5, put(POLICY_KEY, SELECT_ALL, 3), put(HOST_ENDPOINT_KEY, '{"name": "e"}', 4))
    before = mirror.snapshot()
    assert [str(each) for each in before.policies] == ["default/web"]
    assert [each.endpoint for each in before.host_endpoints] == ["eth0"]
    mirror.apply(put(Key("/calico/v1/policy/tier/default/metadata"), "{}", 6))
    assert mirror.snapshot().policies is before.policies
    mirror.apply(Removed(Key("/calico/v1/policy/tier"), Revision(7)))
    mirror.apply(Removed(HOST_ENDPOINT_KEY, Revision(8)))
    after = mirror.snapshot()
    assert (after.policies, after.host_endpoints) == ({}, {})
    assert after.specs is before.specs


def test_a_policy_that_names_nobody_closes_nobody_and_is_told() -> None:
    mirror = loaded(5, put(POLICY_KEY, SELECT_ALL, 3))
    mirror.apply(put(POLICY_KEY, '{"selector": "role = x"}', 6))
    assert mirror.snapshot().policies == {}
    assert "role = x" in mirror.problems()[POLICY_KEY]


def test_labels_that_cannot_be_read_are_told_and_close_nothing() -> None:
    labels = keys.profile_key(ProfileId("web"), "labels")
    rules = put(keys.profile_key(ProfileId("web"), "rules"), RULES, 3)
    mirror = loaded(5, rules, put(labels, '{"role": 1}', 4))
    assert mirror.problems().keys() == {labels}
    assert not mirror.snapshot().profiles[ProfileId("web")].problem
    mirror.apply(put(labels, '{"role": "db"}', 6))
    assert mirror.problems() == {}
    assert mirror.snapshot().profiles[ProfileId("web")].labels == (("role", "db"),)


directories = st.sampled_from(
    [Key("/calico/v1"), Key("/calico/v1/host/h"), keys.profile_dir(ProfileId("web")), keys.BLOCKS]
)
writes = st.tuples(st.just("put"), junk_keys, texts)
removals = st.tuples(st.just("delete"), junk_keys, st.just(""))
tree_removals = st.tuples(st.just("tree"), directories, st.just(""))


@settings(deadline=None)
@given(st.lists(writes | removals | tree_removals, max_size=30), st.integers(0, 30))
def test_following_events_ends_where_a_fresh_listing_does(
    steps: list[tuple[str, Key, str]], listed_after: int
) -> None:
    store, mirror = MemoryDatastore(), Mirror()
    after = dict.fromkeys(PREFIXES, ABSENT)
    for number in range(len(steps) + 1):
        if number == min(listed_after, len(steps)):
            for prefix in PREFIXES:
                found = _list(store, prefix)
                mirror.load(prefix, found)
                after[prefix] = found.revision
        if number < len(steps):
            _carry_out(store, *steps[number])
    for prefix in PREFIXES:
        for event in store.watch(prefix, after[prefix], 0):
            mirror.apply(event)
    fresh = Mirror()
    for prefix in PREFIXES:
        fresh.load(prefix, _list(store, prefix))
    found_state, expected = mirror.snapshot(), fresh.snapshot()
    assert found_state.specs == expected.specs
    assert found_state.spec_revisions == expected.spec_revisions
    assert found_state.profiles == expected.profiles
    assert found_state.pools == expected.pools
    assert found_state.block_hosts == expected.block_hosts
    assert found_state.hosts == expected.hosts
    assert found_state.policies == expected.policies
    assert found_state.host_endpoints == expected.host_endpoints
    assert mirror.problems() == fresh.problems()
    assert mirror.ready == fresh.ready


def _list(store: MemoryDatastore, prefix: Key) -> Listing:
    return store.list(prefix)


def _carry_out(store: MemoryDatastore, verb: str, key: Key, value: str) -> None:
    # Others' keys hold characters that we never write.
    writable = "%" not in key and "_" not in key
    if verb == "put" and writable:
        store.put(key, value)
    elif verb == "delete" and writable:
        store.delete(key)
    elif verb == "tree":
        store.remove_tree(key)


def test_who_came_and_went_between_two_looks_is_told_once() -> None:
    mirror = loaded(5)
    mirror.take_passages()
    mirror.apply(put_spec(1, 6))
    mirror.apply(Removed(keys.endpoint_key(endpoint_id(1)), Revision(7)))

    assert mirror.take_passages() == Passages(frozenset(spec(1).addresses))
    assert mirror.take_passages() == Passages()


def test_an_endpoint_that_moves_gives_its_old_address_up() -> None:
    mirror = loaded(5, put_spec(1, 5))
    moved = codec.encode_endpoint(spec(1)).replace("10.0.0.1/", "10.0.0.9/")
    mirror.apply(put(keys.endpoint_key(endpoint_id(1)), moved, 6))

    assert mirror.take_passages() == Passages(frozenset(spec(1).addresses))


def test_a_second_listing_of_endpoints_may_hide_who_came_and_went() -> None:
    mirror = loaded(5, put_spec(1, 5))
    assert mirror.take_passages().is_whole

    mirror.load(keys.BLOCKS, listing(6))
    assert mirror.take_passages().is_whole

    mirror.load(keys.CALICO, listing(7, put_spec(1, 5)))
    assert not mirror.take_passages().is_whole
    assert mirror.take_passages().is_whole
