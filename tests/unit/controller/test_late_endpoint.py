"""An endpoint that was created too late is taken back, unless somebody may rely on it."""

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import OWNER
from calico.codec import encode_endpoint, encode_pool
from calico.datastore.api import Datastore, Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import endpoint_key, pool_key, task_key
from calico.model import EndpointSpec, HandleId, HostName, Pool, TaskId
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.controller.late_endpoint import take_back

POOL = Pool(IPNetwork("10.1.0.0/16"))
HOST, TASK, ADDRESS = HostName("h1"), TaskId("web.1"), IPAddress("10.1.0.1")
ID = endpoint_of_task(HOST, TASK)
ENDPOINT = endpoint_key(ID)
WORKLOAD = ENDPOINT.partition("/endpoint/")[0]
SPEC = EndpointSpec(
    id=ID,
    interface=interface_of(ID),
    mac=mac_of(ID),
    addresses=(ADDRESS,),
    profiles=(),
    labels=(),
)


@pytest.fixture
def datastore() -> Datastore:
    return MemoryDatastore()


def give_address(datastore: Datastore, task: TaskId) -> None:
    datastore.put(pool_key(POOL), encode_pool(POOL))
    Addresses(datastore).assign_fixed(HOST, HandleId(task), ADDRESS, secondary=(OWNER,))


def create_late(datastore: Datastore, key: Key) -> None:
    """A leader writes this after it was stopped for long, and goes on."""
    text = encode_endpoint(SPEC)
    take_back(datastore, key, text, datastore.put(key, text))


def test_an_endpoint_whose_task_was_withdrawn_meanwhile_is_taken_back(
    datastore: Datastore,
) -> None:
    give_address(datastore, TASK)

    create_late(datastore, ENDPOINT)

    assert datastore.get(ENDPOINT) is None
    # then there is not even a directory
    datastore.put(Key(WORKLOAD), "free")


@pytest.mark.parametrize(
    "holders",
    [
        pytest.param((), id="nobody's"),
        pytest.param((TaskId("web.2"),), id="another's"),
    ],
)
def test_an_endpoint_whose_address_is_not_its_tasks_any_more_is_taken_back(
    datastore: Datastore, holders: tuple[TaskId, ...]
) -> None:
    # given a task that waits in a store that was set back, which knows of no address of it
    datastore.put(task_key(TASK), "{}")
    for holder in holders:
        give_address(datastore, holder)

    create_late(datastore, ENDPOINT)

    assert datastore.get(ENDPOINT) is None


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ENDPOINT, id="an endpoint that has its record and its address"),
        pytest.param(Key("/calico/ipam/v2/handle/web.7"), id="what is no endpoint"),
    ],
)
def test_what_came_late_and_may_be_relied_on_stays(datastore: Datastore, key: Key) -> None:
    datastore.put(task_key(TASK), "{}")
    give_address(datastore, TASK)

    create_late(datastore, key)

    assert datastore.get(key) is not None


def test_what_another_wrote_over_it_meanwhile_stays(datastore: Datastore) -> None:
    text = encode_endpoint(SPEC)
    revision = datastore.put(ENDPOINT, text)
    datastore.put(ENDPOINT, "another's")

    take_back(datastore, ENDPOINT, text, revision)

    assert datastore.get(ENDPOINT) is not None
