"""Whose word that a task is up counts against Marathon's list."""

from dataclasses import replace

import pytest

from calico.datastore.api import Revision
from calico.model import (
    AppliedRecord,
    BootId,
    EndpointState,
    EndpointStatus,
    HostName,
    TaskId,
)
from calico.names import endpoint_of_task
from reconciler.core.removal.contradiction import credible_hosts, reported_up
from tests.unit.reconciler.apps import HOST, HOSTS

APPLIED = AppliedRecord(HOST.name, HOST.boot_id, 7)
TASK = TaskId("t")
UP = EndpointStatus(EndpointState.UP, Revision(3))


@pytest.mark.parametrize(
    ("applied", "alive", "counts"),
    [
        pytest.param(APPLIED, [HOST.name], True, id="heard, of this boot"),
        pytest.param(APPLIED, [], False, id="silent"),
        pytest.param(None, [HOST.name], False, id="nothing applied"),
        pytest.param(replace(APPLIED, boot_id=BootId("old")), [HOST.name], False, id="rebooted"),
        pytest.param(replace(APPLIED, doubt="etcd is empty"), [HOST.name], True, id="in doubt"),
    ],
)
def test_a_host_is_credible(
    applied: AppliedRecord | None, alive: list[HostName], counts: bool
) -> None:
    told = {} if applied is None else {HOST.name: applied}
    assert credible_hosts(HOSTS, told, alive) == ({HOST.name} if counts else set())


def test_a_host_that_is_not_registered_is_not_credible() -> None:
    assert credible_hosts({}, {HOST.name: APPLIED}, [HOST.name]) == frozenset()


@pytest.mark.parametrize(
    ("status", "credible", "up"),
    [
        pytest.param(UP, [HOST.name], True, id="up"),
        pytest.param(replace(UP, state=EndpointState.DOWN), [HOST.name], False, id="down"),
        pytest.param(replace(UP, state=EndpointState.ERROR), [HOST.name], False, id="error"),
        pytest.param(None, [HOST.name], False, id="nothing told"),
        pytest.param(UP, [], False, id="up, by a host that is not credible"),
    ],
)
def test_a_task_is_up(status: EndpointStatus | None, credible: list[HostName], up: bool) -> None:
    statuses = {} if status is None else {endpoint_of_task(HOST.name, TASK): status}
    assert reported_up({TASK: HOST.name}, statuses, credible) == ({TASK} if up else set())


def test_the_word_of_another_host_does_not_count() -> None:
    statuses = {endpoint_of_task(HostName("h2"), TASK): UP}
    hosts = [HOST.name, HostName("h2")]
    assert reported_up({TASK: HOST.name}, statuses, hosts) == frozenset()
