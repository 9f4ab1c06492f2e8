"""`ipam show`, `ipam check` and `ipam release`: who has which address, and is that right."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.model import HandleId, HostName, Pool
from reconciler.cli.command import NoSuchThing
from reconciler.cli.commands.ipam import judge_release
from reconciler.cli.judging.addresses import judge_address, judge_check, judge_show
from reconciler.cli.printing.render import Answer, render
from reconciler.cli.reading.cluster import read_cluster
from reconciler.cli.reading.usage import findings_of, usage_of
from tests.unit.cli.world import World, star

A, B = HostName("host-a"), HostName("host-b")
POOL = IPNetwork("192.168.0.0/16")
LATE = IPAddress("192.168.0.30")


@pytest.fixture
def world() -> World:
    """Two hosts and four tasks; one address is nobody's any more, one is another's."""
    made = star(MemoryDatastore())
    made.allocate(A, "ended.1", "192.168.0.20")
    made.allocate(A, "container-7", "192.168.0.21", ours=False)
    # A task that a controller is about to give its endpoint.
    made.allocate(A, "late.1", str(LATE))
    made.record(made.host("host-a", "10.1.0.1"), "late.1")
    return made


def check(world: World) -> Answer:
    cluster = read_cluster(world.datastore)
    usage = usage_of(cluster)
    return judge_check(cluster, usage, findings_of(cluster, usage))


def text(answer: Answer) -> str:
    return render(answer, "table", width=None, colour=False)


def fields(answer: Answer) -> dict[str, object]:
    decoded = json.loads(render(answer, "json", width=None, colour=False))
    assert isinstance(decoded, dict)
    return decoded


def findings(world: World) -> list[tuple[str, str, str]]:
    found = fields(check(world))["findings"]
    assert isinstance(found, list)
    return [(each["subject"], each["kind"], each["reason"]) for each in found]


def at(world: World, address: str) -> Answer:
    cluster = read_cluster(world.datastore)
    return judge_address(cluster, usage_of(cluster), IPAddress(address))


def release(world: World, address: str) -> Answer:
    cluster = read_cluster(world.datastore)
    return judge_release(cluster, usage_of(cluster), IPAddress(address))


def change_block(world: World, block: str, **changed: object) -> None:
    """What an operator's hand, or a foreign tool, may make of a block."""
    key = keys.block_key(IPNetwork(block))
    stored = world.datastore.get(key)
    assert stored is not None
    world.datastore.put(key, json.dumps(json.loads(stored.value) | changed))


# -- show --


def test_pools_and_blocks_are_shown_with_what_their_addresses_are(world: World) -> None:
    cluster = read_cluster(world.datastore)
    answer = judge_show(cluster, usage_of(cluster))
    assert answer.exit_code == 0
    (pool,) = fields(answer)["pools"]
    assert pool == {
        "pool": "192.168.0.0/16",
        "size": 65536,
        "free": 65529,
        "assigned": 5,
        "resting": 1,
        "foreign": 0,
        "leaked": 1,
        "blocks": 2,
        "options": ["nat-outgoing"],
    }
    first = fields(answer)["blocks"][0]
    assert (first["block"], first["host"], first["strict"]) == ("192.168.0.0/26", "host-a", False)
    assert first["free"] + first["assigned"] + first["resting"] + first["leaked"] == 64
    printed = text(answer)
    assert "192.168.0.0/16  65536  65529  5" in printed
    assert "192.168.0.64/26  host-b  62    2" in printed


@pytest.mark.parametrize(
    ("address", "state", "handle", "app"),
    [
        pytest.param("192.168.0.1", "assigned", "star_probe-a.1", "/star_probe-a", id="a task's"),
        pytest.param(str(LATE), "assigned", "late.1", "/late", id="kept for a task"),
        pytest.param("192.168.0.20", "resting", "ended.1", "", id="an ended task's"),
        pytest.param("192.168.0.21", "leaked", "container-7", "", id="of an unknown owner"),
        pytest.param("192.168.0.40", "free", None, "", id="in a block"),
        pytest.param("192.168.9.9", "free", None, "", id="in no block yet"),
    ],
)
def test_who_has_an_address(
    world: World, address: str, state: str, handle: str | None, app: str
) -> None:
    found = fields(at(world, address))
    assert (found["state"], found["handle"], found["app"]) == (state, handle, app)
    assert found["pools"] == ["192.168.0.0/16"]
    assert f"state     {state}" in text(at(world, address))


def test_an_endpoint_is_named_with_its_host(world: World) -> None:
    found = fields(at(world, "192.168.0.65"))
    assert found["endpoints"] == [{"task": "star_probe-b.1", "host": "host-b"}]
    assert "endpoint  star_probe-b.1 on host-b" in text(at(world, "192.168.0.65"))
    assert "  owner  marathon-calico" in text(at(world, "192.168.0.65"))


def test_an_address_of_no_pool_is_no_such_thing(world: World) -> None:
    with pytest.raises(NoSuchThing, match="in no pool"):
        at(world, "10.9.9.9")


def test_without_pools_there_is_nothing_to_show() -> None:
    cluster = read_cluster(MemoryDatastore())
    answer = judge_show(cluster, usage_of(cluster))
    assert (text(answer), answer.note, answer.exit_code) == ("", "no pools", 0)


# -- check --


def test_a_cluster_as_it_should_be_exits_0_and_adds_up() -> None:
    answer = check(star(MemoryDatastore()))
    assert (answer.exit_code, fields(answer)["ok"], fields(answer)["findings"]) == (0, True, [])
    (pool,) = fields(answer)["pools"]
    states = ("free", "assigned", "resting", "foreign", "leaked")
    assert sum(pool[state] for state in states) == pool["size"] == 65536


def test_every_address_that_is_not_free_is_listed(world: World) -> None:
    listed = fields(check(world))["addresses"]
    assert isinstance(listed, list)
    assert {each["address"]: each["state"] for each in listed} == {
        "192.168.0.1": "assigned",
        "192.168.0.2": "assigned",
        "192.168.0.20": "resting",
        "192.168.0.21": "leaked",
        "192.168.0.30": "assigned",
        "192.168.0.65": "assigned",
        "192.168.0.66": "assigned",
    }


def test_an_address_of_an_unknown_owner_is_a_problem_with_a_remedy(world: World) -> None:
    answer = check(world)
    assert answer.exit_code == 1
    assert (
        "PROBLEM 192.168.0.21: leaked: is held by container-7, and no endpoint has it; "
        "`ipam release 192.168.0.21` if that owner is gone"
    ) in text(answer)


def test_an_address_that_rests_is_none_and_says_what_it_waits_for() -> None:
    world = star(MemoryDatastore())
    world.allocate(A, "ended.1", "192.168.0.20")
    assert check(world).exit_code == 0
    assert "at rest" not in text(check(world))
    world.datastore.delete(keys.felix_status_key(B))
    answer = check(world)
    assert answer.exit_code == 0
    assert fields(answer)["waits_for"] == ["host-b"]
    assert "1 address is at rest, held up by host-b; if that host is gone, see `hosts forget`" in (
        text(answer)
    )
    world.datastore.delete(keys.LEADER)
    assert "1 address is at rest; no controller is active to give addresses back" in text(
        check(world)
    )


def test_a_host_that_does_not_keep_up_is_named_too() -> None:
    world = star(MemoryDatastore())
    world.allocate(A, "ended.1", "192.168.0.20")
    # The controller writes this when an address begins to rest.
    world.datastore.put(keys.READY, "true")
    assert fields(check(world))["waits_for"] == ["host-a", "host-b"]
    world.applied(world.host("host-a", "10.1.0.1"), world.datastore.list(keys.CALICO).revision)
    assert fields(check(world))["waits_for"] == ["host-b"]
    world.datastore.put(keys.host_key(B), "junk")
    assert fields(check(world))["waits_for"] == ["host-b"]


def test_what_another_orchestrator_uses_is_foreign_and_no_problem() -> None:
    world = star(MemoryDatastore())
    host = world.host("host-a", "10.1.0.1")
    world.allocate(A, "container-7", "192.168.0.21", ours=False)
    spec, _ = world.endpoint(host, world.record(host, "gone.1"), "192.168.0.21")
    theirs = replace(spec, id=replace(spec.id, orchestrator="docker", workload="container-7"))
    world.datastore.put(keys.endpoint_key(theirs.id), codec.encode_endpoint(theirs))
    world.datastore.delete(keys.endpoint_key(spec.id))
    world.datastore.delete(keys.task_key(world.record(host, "gone.1").task))
    # calico-node gives its tunnel an address without a handle.
    cidr = ipam.block_of(IPAddress("192.168.0.1"))
    stored = world.datastore.get(keys.block_key(cidr))
    assert stored is not None
    block = codec.decode_block(cidr, stored.value)
    tunnel = ipam.allocate_fixed(block, None, cidr[22])
    world.datastore.put(keys.block_key(cidr), codec.encode_block(tunnel))
    answer = check(world)
    assert (answer.exit_code, findings(world)) == (0, [])
    (pool,) = fields(answer)["pools"]
    assert (pool["foreign"], pool["leaked"]) == (2, 0)


def spoil_pool(world: World) -> None:
    world.datastore.put(keys.pool_key(POOL), "[]")


def overlap(world: World) -> None:
    world.pool("192.168.0.0/24")


def drop_pool(world: World) -> None:
    world.datastore.delete(keys.pool_key(POOL))
    world.pool("10.0.0.0/16")


def use_twice(world: World) -> None:
    host = world.host("host-b", "10.1.0.2")
    world.endpoint(host, world.record(host, "twin.1"), "192.168.0.1")


def use_unallocated(world: World) -> None:
    host = world.host("host-b", "10.1.0.2")
    world.endpoint(host, world.record(host, "bold.1"), "192.168.0.70")


def use_in_no_block(world: World) -> None:
    host = world.host("host-b", "10.1.0.2")
    world.endpoint(host, world.record(host, "bold.1"), "192.168.99.70")


def use_anothers(world: World) -> None:
    host = world.host("host-b", "10.1.0.2")
    world.allocate(B, "ended.1", "192.168.0.71")
    world.endpoint(host, world.record(host, "bold.1"), "192.168.0.71")


def break_block(world: World) -> None:
    change_block(world, "192.168.0.0/26", unallocated=[1, 1])


def overcount(world: World) -> None:
    cidr = IPNetwork("192.168.0.0/26")
    text = codec.encode_handle(HandleId("star_probe-a.1"), {cidr: 3}, "marathon-calico 1")
    world.datastore.put(keys.handle_key(HandleId("star_probe-a.1")), text)


def overcount_of_others(world: World) -> None:
    cidr = IPNetwork("192.168.0.0/26")
    text = codec.encode_handle(HandleId("star_probe-a.1"), {cidr: 3})
    world.datastore.put(keys.handle_key(HandleId("star_probe-a.1")), text)


def lose_handle(world: World) -> None:
    world.datastore.delete(keys.handle_key(HandleId("star_probe-a.1")))


def break_handle(world: World) -> None:
    world.datastore.put(keys.handle_key(HandleId("star_probe-a.1")), "{")


def dangle(world: World) -> None:
    world.datastore.put(keys.affinity_key(B, IPNetwork("192.168.77.0/26")), "")


def dangle_of_others(world: World) -> None:
    world.datastore.put(keys.affinity_key(HostName("felix"), IPNetwork("192.168.77.0/26")), "")


def claim_anothers(world: World) -> None:
    world.datastore.put(keys.affinity_key(B, IPNetwork("192.168.0.0/26")), "")


def lose_claim(world: World) -> None:
    world.datastore.delete(keys.affinity_key(A, IPNetwork("192.168.0.0/26")))


def abandon(world: World) -> None:
    cidr = IPNetwork("192.168.77.0/26")
    world.datastore.put(keys.block_key(cidr), codec.encode_block(ipam.new_block(cidr, None)))


@pytest.mark.parametrize(
    ("spoil", "subject", "kind", "reason"),
    [
        pytest.param(
            spoil_pool, "/calico/v1/ipam/v4/pool/192.168.0.0-16", "unreadable", "must be", id="pool"
        ),
        pytest.param(overlap, "192.168.0.0/16", "overlap", "192.168.0.0/24", id="two pools"),
        pytest.param(
            drop_pool, "192.168.0.0/26", "outside pools", "no pool any more", id="no pool"
        ),
        pytest.param(
            use_twice,
            "192.168.0.1",
            "double use",
            "star_probe-a.1 on host-a, twin.1 on host-b",
            id="two endpoints",
        ),
        pytest.param(
            use_unallocated, "192.168.0.70", "not allocated", "bold.1 on host-b", id="free in block"
        ),
        pytest.param(
            use_in_no_block, "192.168.99.70", "not allocated", "bold.1 on host-b", id="no block"
        ),
        pytest.param(
            use_anothers, "192.168.0.71", "wrong holder", "held by ended.1", id="another's"
        ),
        pytest.param(
            break_block,
            "/calico/ipam/v2/assignment/ipv4/block/192.168.0.0-26",
            "unreadable",
            "unallocated must list each free address once",
            id="block",
        ),
        pytest.param(
            overcount_of_others,
            "192.168.0.0/26",
            "miscounted",
            "counts 3 addresses here and has 1",
            id="over, by others",
        ),
        pytest.param(
            lose_handle, "192.168.0.0/26", "miscounted", "counts 0 addresses here", id="no handle"
        ),
        pytest.param(
            break_handle,
            "/calico/ipam/v2/handle/star_probe-a.1",
            "unreadable",
            "not JSON",
            id="handle",
        ),
        pytest.param(
            dangle_of_others, "192.168.77.0/26", "affinity", "host felix", id="claim of others"
        ),
    ],
)
def test_what_does_not_agree_is_named_and_exits_1(
    spoil: object, subject: str, kind: str, reason: str
) -> None:
    world = star(MemoryDatastore())
    assert callable(spoil)
    spoil(world)
    answer = check(world)
    assert answer.exit_code == 1
    (told,) = [each for each in findings(world) if each[:2] == (subject, kind)]
    assert reason in told[2]
    assert f"PROBLEM {subject}: {kind}: " in text(answer)


@pytest.mark.parametrize(
    ("spoil", "subject", "kind", "reason"),
    [
        pytest.param(
            overcount,
            "192.168.0.0/26",
            "miscounted",
            "counts 3 addresses here and has 1",
            id="over",
        ),
        pytest.param(
            dangle, "192.168.77.0/26", "affinity", "host host-b claims it", id="claim of no block"
        ),
        pytest.param(
            claim_anothers, "192.168.0.0/26", "affinity", "host host-b claims it", id="claim lost"
        ),
        pytest.param(
            lose_claim, "192.168.0.0/26", "affinity", "kept for host host-a", id="no claim"
        ),
        pytest.param(abandon, "192.168.77.0/26", "abandoned", "nobody", id="nobody's block"),
    ],
)
def test_what_a_leader_mends_is_a_note_and_without_one_a_problem(
    spoil: Callable[[World], None], subject: str, kind: str, reason: str
) -> None:
    # given what a write that came to nothing left
    world = star(MemoryDatastore())
    spoil(world)

    # then it is told while a controller leads, and is no reason for exit code 1
    answer = check(world)
    assert (answer.exit_code, fields(answer)["ok"]) == (0, True)
    (told,) = [each for each in findings(world) if each[:2] == (subject, kind)]
    assert reason in told[2]
    assert "the controller mends it" in told[2]
    assert f"NOTE {subject}: {kind}: " in text(answer)

    # and when nobody leads who would mend it, it is
    world.datastore.delete(keys.LEADER)
    answer = check(world)
    assert (answer.exit_code, fields(answer)["ok"]) == (1, False)
    assert f"PROBLEM {subject}: {kind}: " in text(answer)


def test_the_sum_still_is_the_pools_size_when_a_block_cannot_be_read() -> None:
    world = star(MemoryDatastore())
    break_block(world)
    (pool,) = fields(check(world))["pools"]
    states = ("free", "assigned", "resting", "foreign", "leaked")
    assert sum(pool[state] for state in states) == 65536
    # Two tasks of host-a are seen by their endpoints alone.
    assert (pool["assigned"], pool["leaked"], pool["blocks"]) == (4, 62, 2)


def test_an_ipv6_pool_is_counted_without_being_walked() -> None:
    world = star(MemoryDatastore())
    pool = Pool(IPNetwork("fd80::/48"))
    world.datastore.put(keys.pool_key(pool), codec.encode_pool(pool))
    Addresses(world.datastore).assign(A, HandleId("six.1"), version=6)
    answer = check(world)
    (six,) = [p for p in fields(answer)["pools"] if p["pool"] == "fd80::/48"]
    assert six["free"] + six["leaked"] == six["size"] == 2**80


def test_a_foreign_handle_may_have_any_name() -> None:
    world = star(MemoryDatastore())
    world.datastore.put(Key("/calico/ipam/v2/handle/a+b@c"), '{"id": "a+b@c", "block": {}}')
    assert check(world).exit_code == 0


# -- release --


def test_an_address_in_use_is_refused_and_its_user_named(world: World) -> None:
    answer = release(world, "192.168.0.65")
    assert answer.exit_code == 1
    assert text(answer) == "REFUSED 192.168.0.65: star_probe-b.1 on host-b uses it\n"


def test_an_address_that_is_kept_for_a_task_is_refused(world: World) -> None:
    answer = release(world, str(LATE))
    assert answer.exit_code == 1
    assert "kept for task late.1 of /late, which has no endpoint yet" in text(answer)


def test_what_nobody_uses_would_be_released(world: World) -> None:
    answer = release(world, "192.168.0.21")
    assert answer.exit_code == 2
    said = "container-7 holds it, and no endpoint has it"
    assert text(answer) == f"would release 192.168.0.21: {said}; --yes does it\n"
    assert fields(answer)["action"] == "would release"


def test_nobody_cuts_the_rest_of_an_address_short(world: World) -> None:
    answer = release(world, "192.168.0.20")
    assert answer.exit_code == 1
    assert text(answer) == (
        "REFUSED 192.168.0.20: it was ended.1's and rests:"
        " it comes back by itself two minutes after every host let go of it\n"
    )


def test_a_resting_address_says_whom_it_waits_for(world: World) -> None:
    world.datastore.delete(keys.felix_status_key(B))
    told = text(release(world, "192.168.0.20"))
    assert "host-b did not yet: if that host is gone, `hosts forget` it" in told
    world.datastore.delete(keys.LEADER)
    told = text(release(world, "192.168.0.20"))
    assert "no controller is active to give it back: start one" in told


def test_a_free_address_needs_nothing(world: World) -> None:
    for address in ("192.168.0.40", "192.168.9.9"):
        answer = release(world, address)
        assert (answer.exit_code, fields(answer)["action"]) == (0, "nothing")


def test_an_address_of_a_block_that_cannot_be_read_is_refused(world: World) -> None:
    change_block(world, "192.168.0.0/26", unallocated=[1, 1])
    answer = release(world, "192.168.0.20")
    assert answer.exit_code == 1
    assert "192.168.0.0/26 cannot be read" in text(answer)


def test_what_an_endpoint_that_cannot_be_read_may_use_is_refused(world: World) -> None:
    key = Key("/calico/v1/host/host-b/workload/docker/container-7/endpoint/ab")
    world.datastore.put(key, '{"state": "active", "ipv4_nets": ["192.168.0.21"]')
    answer = release(world, "192.168.0.21")
    assert answer.exit_code == 1
    assert f"{key} cannot be read" in text(answer)


def test_an_address_of_nowhere_cannot_be_released(world: World) -> None:
    with pytest.raises(NoSuchThing):
        release(world, "10.9.9.9")


def test_a_block_outlives_its_pool(world: World) -> None:
    world.datastore.delete(keys.pool_key(POOL))
    assert release(world, "192.168.0.21").exit_code == 2
