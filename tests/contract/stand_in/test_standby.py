"""A Marathon that does not lead, and the real client that was told of it alone."""

import threading

import pytest
import requests

from demo.marathon import Era, Standby
from marathon_client.client import MarathonClient
from marathon_client.events import TaskStatus
from marathon_client.stream import Backoff, Connected, EventStream
from tests.contract.stand_in.era_world import ERAS, SOON, app_of, marathon_of
from tests.contract.stand_in.stand_in_world import RawStream

every_era = pytest.mark.parametrize("era", ERAS, ids=str)


@every_era
def test_a_standby_passes_rest_on_and_says_so(era: Era) -> None:
    with marathon_of(era) as marathon, Standby(era, marathon.stand_in.address) as standby:
        reply = requests.post(f"{standby.url}/v2/apps", json=app_of(era), timeout=SOON)
        apps = requests.get(f"{standby.url}/v2/apps", timeout=SOON)
    assert reply.status_code == 201
    assert [app["id"] for app in apps.json()["apps"]] == ["/shop/web"]
    assert apps.headers["X-Marathon-Leader"] == marathon.url
    assert apps.headers["X-Marathon-Via"] == f"1.1 {standby.address}"


@pytest.mark.parametrize("era", [era for era in ERAS if not era.redirects_streams], ids=str)
def test_events_carried_by_a_standby_arrive(era: Era) -> None:
    with (
        marathon_of(era) as marathon,
        Standby(era, marathon.stand_in.address) as standby,
        RawStream(standby.url) as stream,
    ):
        marathon("POST", "/v2/apps", app_of(era), status=201)
        stream.event("deployment_success")


def test_two_standbys_that_name_each_other_are_found_out() -> None:
    with Standby(Era(1, 4), None) as one, Standby(Era(1, 4), one.address) as two:
        one.leader = two.address
        reply = requests.get(f"{one.url}/v2/apps", timeout=SOON)
    assert (reply.status_code, "Detected proxying loop" in reply.text) == (502, True)


@every_era
def test_a_client_that_knows_the_standby_alone_hears_of_every_task(era: Era) -> None:
    with marathon_of(era) as marathon, Standby(era, marathon.stand_in.address) as standby:
        stream = EventStream([standby.url])
        items = iter(stream)
        connected = next(items)
        marathon("POST", "/v2/apps", app_of(era), status=201)
        told = next(item for item in items if isinstance(item, TaskStatus))
        stream.stop()
        (app,) = MarathonClient([standby.url]).apps().apps
    # From the leader itself: what a standby carries comes late, if at all.
    assert isinstance(connected, Connected)
    assert connected.leader == marathon.stand_in.address
    assert told.app_id == app.id == "/shop/web"


def test_a_client_turns_from_a_node_that_is_being_elected_to_the_leader() -> None:
    era = Era(1, 4)
    with marathon_of(era) as marathon, Standby(era, None, look_seconds=0, electing=True) as other:
        quick = Backoff(least=0.01, most=0.05)
        stream = EventStream([other.url, marathon.url], backoff=quick)
        guard = threading.Timer(SOON * 2, stream.stop)
        guard.start()
        found = any(
            isinstance(item, Connected) and item.leader == marathon.stand_in.address
            for item in stream
        )
        guard.cancel()
        stream.stop()
    assert found


def test_what_a_standby_carries_may_come_late_and_all_at_once() -> None:
    era = Era(1, 4)
    with (
        marathon_of(era) as marathon,
        Standby(era, marathon.stand_in.address, late=0.3) as standby,
        RawStream(marathon.url) as direct,
        RawStream(standby.url) as carried,
    ):
        marathon("POST", "/v2/apps", app_of(era), status=201)
        direct.event("deployment_success")
        assert "deployment_success" not in carried.names()
        carried.event("deployment_success")
