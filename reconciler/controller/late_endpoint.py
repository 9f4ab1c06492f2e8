"""What becomes of an endpoint that was created after its writer's lease had ended."""

from contextlib import suppress

from calico.addressing.addresses import Addresses
from calico.codec import decode_endpoint
from calico.datastore.api import Datastore, Key, Revision
from calico.errors import CalicoError
from calico.keys import own_directories, parse_endpoint_key, task_key
from calico.model import EndpointSpec, HandleId, TaskId


def take_back(datastore: Datastore, key: Key, text: str, revision: Revision) -> None:
    """Remove an endpoint that came too late: nobody would take it for ours any more.

    That is so if its task was withdrawn meanwhile, and if its addresses are not
    its own any more: the store was set back, and may give them to another task.
    Whatever else was created too late is found by the next one who leads. May
    fail without a word.
    """
    endpoint = parse_endpoint_key(key)
    if endpoint is None:
        return
    with suppress(CalicoError):
        if _is_relied_on(datastore, decode_endpoint(endpoint, text)):
            return
        datastore.delete(key, expect=revision)
        for directory in own_directories(key):
            datastore.delete(directory)


def _is_relied_on(datastore: Datastore, spec: EndpointSpec) -> bool:
    """Whether a new leader may have found it as it should be."""
    workload, addresses = spec.id.workload, Addresses(datastore)
    return datastore.get(task_key(TaskId(workload))) is not None and all(
        addresses.holder(each) == HandleId(workload) for each in spec.addresses
    )
