"""Which of the datastore's endpoints and of the host's containers are rendered."""

from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostConfig
from calico.model import EndpointSpec, HostName, Snapshot, TaskId
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.merging import Merging, unclaimed_endpoint
from reconciler.agent.reconciliation.rendering import Rendering
from tests.unit.agent.attachments.samples import attachment, claim
from tests.unit.agent.world import HOST, POOL, UNDERLAY, spec

HELD = attachment("c-1", "192.168.0.1", inode=7)
OTHER = attachment("c-2", "192.168.0.2", inode=8)
CLAIM = claim("web.1", HELD, "a")
DB = spec(TaskId("db.1"), "192.168.0.9", "a")
CONFIG = HostConfig(HOST, UNDERLAY, 1500, "eth0")


def snapshot(*specs: EndpointSpec) -> Snapshot:
    return Snapshot(specs={each.id: each for each in specs}, pools=(POOL,))


def merge(held: KeptAttachment, *specs: EndpointSpec) -> set[EndpointSpec]:
    return set(Merging(HOST).of(snapshot(*specs), [held]).snapshot.specs.values())


def test_an_unclaimed_container_is_rendered_closed() -> None:
    merged = Merging(HOST).of(snapshot(DB), [HELD])

    rendered = render_host(merged.snapshot, CONFIG)

    stand_in = unclaimed_endpoint(HOST, HELD)
    assert set(merged.snapshot.specs.values()) == {DB, stand_in}
    assert (stand_in.profiles, stand_in.addresses) == ((), HELD.addresses)
    assert stand_in.id not in rendered.endpoint_problems
    assert rendered.state.links.keys() == {DB.interface, HELD.interface}


def test_the_claim_takes_the_place_of_the_stand_in_and_of_nothing_else() -> None:
    merged = Merging(HOST).of(snapshot(DB, CLAIM), [HELD])

    assert set(merged.snapshot.specs.values()) == {DB, CLAIM}
    assert merged.keys == {HELD.container: TaskId("web.1")}
    assert merged.claimed == {HELD.container}
    assert merged.stand_ins == frozenset()


def test_the_link_is_the_same_before_and_after_the_claim() -> None:
    before, after = (
        render_host(Merging(HOST).of(snapshot(*specs), [HELD]).snapshot, CONFIG).state
        for specs in ((), (CLAIM,))
    )
    assert before.links == after.links
    assert before.routes == after.routes


def test_the_order_of_the_addresses_makes_no_other_link() -> None:
    two = attachment("c-1", "192.168.0.1", "192.168.0.200", inode=7)
    turned = replace(claim("web.1", two), addresses=two.addresses[::-1])

    before, after = (
        render_host(Merging(HOST).of(snapshot(*specs), [two]).snapshot, CONFIG).state.links
        for specs in ((), (turned,))
    )
    assert before == after


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        pytest.param(replace(CLAIM, addresses=(IPAddress("192.168.0.5"),)), True, id="address"),
        pytest.param(replace(CLAIM, mac=DB.mac), True, id="MAC address"),
        pytest.param(
            replace(DB, addresses=HELD.addresses), True, id="another interface with its address"
        ),
        pytest.param(replace(CLAIM, active=False), False, id="made inactive"),
    ],
)
def test_an_endpoint_that_is_not_like_the_container_opens_nothing(
    endpoint: EndpointSpec, problem: bool
) -> None:
    merged = Merging(HOST).of(snapshot(endpoint), [HELD])

    rendered = render_host(merged.snapshot, CONFIG)

    assert rendered.state.links[HELD.interface].wiring is not None
    assert merged.claimed == frozenset()
    assert (endpoint.id in merged.problems) is problem
    assert rendered.endpoint_problems == {}, "the container is not shut for it"


def test_of_two_tasks_one_has_the_container() -> None:
    second = claim("web.2", HELD)

    merged = Merging(HOST).of(snapshot(CLAIM, second), [HELD])

    assert merged.keys == {HELD.container: TaskId("web.1")}
    assert "another task's" in merged.problems[second.id]


def test_what_was_claimed_is_wired_for_a_task_or_not_at_all() -> None:
    before = replace(HELD, claimed=True)

    assert merge(before) == set()
    assert merge(before, CLAIM) == {CLAIM}


def test_nothing_is_wired_for_a_detached_container_and_its_task_is_gone() -> None:
    merged = Merging(HOST).of(snapshot(CLAIM, DB), [replace(HELD, detached=True)])

    assert set(merged.snapshot.specs.values()) == {DB}
    assert merged.gone == {TaskId("web.1")}
    assert merged.problems == {}
    assert merged.keys == {}


def test_addresses_without_a_link_are_not_rendered() -> None:
    assert merge(HELD.without_link()) == set()
    assert merge(HELD.without_link(), CLAIM) == {CLAIM}


def test_endpoints_of_other_hosts_are_left_as_they_are() -> None:
    far = replace(CLAIM, id=replace(CLAIM.id, host=HostName("far")))

    assert merge(HELD, far) == {far, unclaimed_endpoint(HOST, HELD)}


def test_what_did_not_change_stays_the_same_object_and_is_not_rendered_again() -> None:
    merging, rendering = Merging(HOST), Rendering()
    raw = snapshot(DB)
    attachments = [HELD, OTHER]
    first = merging.of(raw, attachments)
    rendered = rendering.of(first.snapshot, CONFIG, {HELD.interface: "eth0"})

    # A profile that nobody uses comes: the mirror makes a new snapshot of the same endpoints.
    again = merging.of(replace(raw, revision=2), list(attachments))

    assert merging.of(raw, attachments).snapshot.specs is first.snapshot.specs
    assert again.snapshot.specs is first.snapshot.specs
    assert rendering.of(again.snapshot, CONFIG, {HELD.interface: "eth0"}) is rendered

    # Of what is rendered anew, the other container's stand-in is the same object.
    later = merging.of(raw, [OTHER])
    stand_in = unclaimed_endpoint(HOST, OTHER).id
    assert later.snapshot.specs[stand_in] is first.snapshot.specs[stand_in]


def test_without_containers_the_snapshot_is_itself() -> None:
    raw = snapshot(DB, CLAIM)
    assert Merging(HOST).of(raw, []).snapshot is raw
    assert Merging(HOST).of(raw, [HELD]).snapshot is raw, "the claim alone changes nothing"


def test_a_link_is_called_inside_as_its_runtime_asked() -> None:
    raw = Merging(HOST).of(snapshot(DB), [HELD]).snapshot

    rendered = Rendering().of(raw, CONFIG, {HELD.interface: "net7"})

    names = {
        name: link.wiring.device
        for name, link in rendered.state.links.items()
        if link.wiring is not None
    }
    assert names == {DB.interface: "eth0", HELD.interface: "net7"}
