"""What a host tells of a store that is not there any more."""

from collections.abc import Collection, Iterable
from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import OWNER, marks_of_container
from calico.addressing.claims import Claim, Claims
from calico.addressing.ipam import allocation_of, block_of
from calico.cluster import ObjectionRecord
from calico.codec import decode_block, encode_endpoint
from calico.keys import block_key, pool_key, profile_key
from calico.model import BootId, ContainerId, HandleId, TaskId
from calico.names import handle_of_container
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.belief import PREFIXES
from reconciler.agent.reporting.objection import objection_record
from reconciler.core.adoption import holdings_of
from tests.unit.agent.attachments.samples import attachment
from tests.unit.agent.world import HOST, OTHER_HOST, POOL, filled_store, key_of, put_spec, spec

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")
REMOTE = spec(TaskId("db.1"), "192.168.0.2", "b", host=OTHER_HOST)
BOX, OTHER_BOX = ContainerId("box"), ContainerId("other-box")


def told(
    attached: Collection[KeptAttachment] = (),
    gone: Collection[TaskId] = (),
    claims: Iterable[Claim] = (),
) -> ObjectionRecord:
    """What a host tells with one task and one container, in a block that it shares."""
    store = filled_store()
    for each in (WEB, REMOTE):
        put_spec(store, each)
    addresses = Addresses(store)
    for each in (WEB, REMOTE):
        handle = HandleId(each.id.workload)
        addresses.assign_fixed(HOST, handle, each.addresses[0], secondary=(OWNER,))
    for box, host, last in ((BOX, HOST, 3), (OTHER_BOX, OTHER_HOST, 4)):
        marks = marks_of_container(box, host)
        handle = handle_of_container(box)
        addresses.assign_fixed(HOST, handle, IPAddress(f"192.168.0.{last}"), secondary=marks)
    for claim in claims:
        Claims(store).claim(claim)
    entries = (each for root in PREFIXES for each in store.list(root).entries)
    former = {each.key: each for each in entries}
    return objection_record(HOST, BootId("boot"), "guid", 7, former, attached, gone)


def test_a_host_tells_of_its_own_endpoints_and_of_what_these_name() -> None:
    cidr = block_of(WEB.addresses[0])
    assert {key for key, _ in told().entries} == {
        key_of(WEB.id),
        profile_key(WEB.profiles[0], "tags"),
        profile_key(WEB.profiles[0], "rules"),
        pool_key(POOL),
        block_key(cidr),
    }


def test_of_a_block_a_host_tells_what_its_tasks_and_containers_have() -> None:
    cidr = block_of(WEB.addresses[0])
    block = decode_block(cidr, dict(told().entries)[block_key(cidr)])

    held = {str(each): allocation_of(block, each) for each in cidr}
    assert {address for address, found in held.items() if found} == {"192.168.0.1", "192.168.0.3"}
    box = held["192.168.0.3"]
    assert box is not None
    assert box.container == BOX


def test_what_a_host_told_is_understood_as_it_was() -> None:
    found = holdings_of(told())

    assert [(each.id, text) for each, text in found.endpoints] == [(WEB.id, encode_endpoint(WEB))]
    assert {(str(each.address), each.handle, each.affinity) for each in found.addresses} == {
        ("192.168.0.1", "web.1", HOST),
        ("192.168.0.3", handle_of_container(BOX), HOST),
    }


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("192.168.0.5", id="free when it was read"),
        pytest.param("192.168.0.70", id="in a block that was not there when it was read"),
        pytest.param("192.168.0.4", id="another host's when it was read"),
        pytest.param("192.168.0.3", id="another container's when it was read"),
    ],
)
def test_what_a_container_was_given_is_told_though_it_was_not_read_before_the_store_was_lost(
    address: str,
) -> None:
    # given a container that Mesos says a task of which nothing was read is for
    new = replace(attachment("new-box", address), runs="web.2")

    # when what the host holds is told
    told_of = {each.address: each for each in holdings_of(told((new,))).addresses}

    # then also what it holds for that container, as it was given
    found = told_of[IPAddress(address)]
    assert (found.handle, found.affinity) == (new.handle, HOST)
    assert dict(found.secondary) == dict(marks_of_container(new.container, HOST, "web.2"))


def test_what_a_task_claimed_is_told_though_its_endpoint_was_not_read_yet() -> None:
    # given a container that is here, and the claim of a task whose endpoint came later
    box = replace(attachment(BOX, "192.168.0.3", inode=7), claimed=True)
    claim = Claim(BOX, HOST, HandleId("web.2"))

    # when what the host holds is told
    told_of = {
        str(each.address): each for each in holdings_of(told((box,), (), (claim,))).addresses
    }

    # then that is the task's, and of one that is not here any more nothing is told
    assert told_of["192.168.0.3"].handle == "web.2"
    assert "192.168.0.3" not in {
        str(each.address) for each in holdings_of(told((), (), (claim,))).addresses
    }


def test_what_a_task_of_the_host_has_is_told_as_its_own_though_the_claim_was_not_noted() -> None:
    claimed = attachment("claimed-box", str(WEB.addresses[0]))
    assert told((claimed,)) == told()


def test_a_task_that_is_gone_has_no_endpoint_any_more_and_its_address_rests() -> None:
    found = holdings_of(told(gone=(TaskId("web.1"), TaskId("db.1"))))

    assert found.endpoints == ()
    assert found.addresses == holdings_of(told()).addresses


def test_a_host_speaks_for_no_other() -> None:
    record = told()
    stranger = ObjectionRecord(
        OTHER_HOST, record.boot_id, record.guid, record.takeover, record.entries
    )
    assert holdings_of(stranger).endpoints == ()


def test_a_host_tells_who_else_may_hold_something() -> None:
    assert told().hosts == (HOST, OTHER_HOST)
