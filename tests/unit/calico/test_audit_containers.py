"""What an address is that was given to a container before any task ran."""

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.audit import AddressState, lent_to_containers, standing
from calico.addressing.blocks import CONTAINER, ON_HOST, OWNER, Allocation
from calico.addressing.books import Books
from calico.addressing.ipam import allocate_fixed, new_block
from calico.model import ContainerId, HandleId, HostName, TaskId
from calico.names import handle_of_container

BOX, ADDRESS = ContainerId("box-1"), IPAddress("10.1.0.7")
LIVE, FORGOTTEN, UNKNOWN = HostName("live"), HostName("forgotten"), HostName("unknown")
CIDR = IPNetwork("10.1.0.0/26")


def given_on(host: HostName, handle: str = "", owner: tuple[str, str] = OWNER) -> Allocation:
    holder = HandleId(handle) if handle else handle_of_container(BOX)
    return Allocation(holder, (owner, (CONTAINER, BOX), (ON_HOST, host)))


@pytest.mark.parametrize(
    ("allocation", "state"),
    [
        pytest.param(given_on(LIVE), AddressState.ASSIGNED, id="its host lives"),
        pytest.param(given_on(FORGOTTEN), AddressState.RESTING, id="its host is forgotten"),
        pytest.param(given_on(UNKNOWN), AddressState.LEAKED, id="nobody knows its host"),
        pytest.param(given_on(LIVE, "web.1"), AddressState.ASSIGNED, id="claimed by a task"),
        pytest.param(
            given_on(LIVE, "gone.1"), AddressState.RESTING, id="claimed by a task that ended"
        ),
        pytest.param(
            given_on(LIVE, owner=("owner", "another")), AddressState.LEAKED, id="of another writer"
        ),
        pytest.param(
            Allocation(HandleId("cni.1"), (OWNER,)),
            AddressState.RESTING,
            id="a task whose id looks like a container's handle",
        ),
    ],
)
def test_an_address_of_a_container(allocation: Allocation, state: AddressState) -> None:
    who = standing((), frozenset({TaskId("web.1")}), {LIVE}, {FORGOTTEN})
    assert who.state_of(allocation, ADDRESS) is state


@pytest.mark.parametrize(
    ("affinity", "allocation", "lent"),
    [
        pytest.param(LIVE, given_on(FORGOTTEN), True, id="in another host's block"),
        pytest.param(FORGOTTEN, given_on(FORGOTTEN), False, id="in its own block"),
        pytest.param(LIVE, given_on(FORGOTTEN, "web.1"), False, id="claimed by a task"),
        pytest.param(LIVE, given_on(LIVE), False, id="of another host's container"),
    ],
)
def test_what_a_host_s_containers_hold_of_other_hosts_blocks(
    affinity: HostName, allocation: Allocation, lent: bool
) -> None:
    assert allocation.handle is not None
    block = allocate_fixed(
        new_block(CIDR, affinity), allocation.handle, ADDRESS, allocation.secondary
    )
    assert lent_to_containers(Books({CIDR: block}), FORGOTTEN) == ((CIDR,) if lent else ())
