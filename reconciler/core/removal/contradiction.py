"""Whom their own hosts report up, whatever Marathon's list lacks; pure."""

from collections.abc import Collection, Mapping

from calico.model import (
    AppliedRecord,
    EndpointId,
    EndpointState,
    EndpointStatus,
    HostName,
    HostRecord,
    TaskId,
)
from calico.names import endpoint_of_task


def credible_hosts(
    hosts: Mapping[HostName, HostRecord],
    applied: Mapping[HostName, AppliedRecord],
    alive: Collection[HostName],
) -> frozenset[HostName]:
    """Hosts whose agent is heard and speaks of this boot.

    Also one that doubts the datastore: it takes nothing down meanwhile.
    """
    return frozenset(
        host
        for host, record in hosts.items()
        if host in alive and host in applied and applied[host].boot_id == record.boot_id
    )


def reported_up(
    absent: Mapping[TaskId, HostName],
    statuses: Mapping[EndpointId, EndpointStatus],
    credible: Collection[HostName],
) -> frozenset[TaskId]:
    """Those of the absent tasks, by their hosts, that a credible agent reports up."""
    return frozenset(
        task
        for task, host in absent.items()
        if host in credible
        and (status := statuses.get(endpoint_of_task(host, task))) is not None
        and status.state is EndpointState.UP
    )
