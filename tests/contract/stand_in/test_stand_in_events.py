"""The event stream, byte by byte, as Jetty frames it."""

import json
from collections.abc import Iterator

import pytest
import requests

from demo.marathon import Cut, Era, FaultTable, MemoryAgent, StandIn, StreamFaults
from tests.contract.stand_in.stand_in_world import RawStream
from tests.unit.demo.apps import ip_app

SOON = 5


@pytest.fixture
def marathon() -> Iterator[StandIn]:
    """A Marathon with one host."""
    with StandIn(agents={"host-1": MemoryAgent()}) as marathon:
        yield marathon


def create(marathon: StandIn, app_id: str = "/shop/web") -> None:
    """Create an app over REST."""
    requests.post(f"{marathon.url}/v2/apps", json=ip_app(app_id), timeout=SOON).raise_for_status()


def test_headers_come_at_once_and_say_that_the_body_ends_with_the_connection(
    marathon: StandIn,
) -> None:
    stream = RawStream(marathon.url)
    head = stream.until(b"\r\n\r\n").decode().lower()
    stream.close()
    assert head.startswith("http/1.1 200 ok\r\n")
    assert "content-type: text/event-stream;charset=utf-8\r\n" in head
    assert "connection: close\r\n" in head
    assert "content-length" not in head
    assert "transfer-encoding" not in head


def test_an_event_is_two_lines_and_an_empty_one_all_ended_by_crlf(marathon: StandIn) -> None:
    with RawStream(marathon.url) as stream:
        assert stream.until(b"event: ") == b"event: "
        frame = stream.until(b"\r\n\r\n")
    name, data, empty, rest = frame.split(b"\r\n")
    assert (name, empty, rest) == (b"event_stream_attached", b"", b"")
    assert data.startswith(b"data: {")
    body = json.loads(data.removeprefix(b"data: "))
    assert set(body) == {"remoteAddress", "eventType", "timestamp"}
    assert (body["eventType"], body["remoteAddress"]) == ("event_stream_attached", "127.0.0.1")
    assert b"\n" not in frame.replace(b"\r\n", b"")


def test_a_heartbeat_is_a_bare_crlf() -> None:
    with StandIn(agents={}, heartbeat=0.05) as marathon, RawStream(marathon.url) as stream:
        stream.event("event_stream_attached")
        assert stream.until(b"\r\n\r\n\r\n") == b"\r\n\r\n\r\n"


@pytest.mark.parametrize(
    "accept",
    ["text/event-stream, */*", "text/event-stream;q=1", "*/*", "application/json"],
)
def test_any_other_accept_is_answered_with_405_in_html(marathon: StandIn, accept: str) -> None:
    reply = requests.get(f"{marathon.url}/v2/events", headers={"Accept": accept}, timeout=SOON)
    assert reply.status_code == 405
    assert "HTTP method GET is not supported by this URL" in reply.text


def test_one_exact_accept_line_among_several_is_enough(marathon: StandIn) -> None:
    stream = RawStream(marathon.url, accept="application/json\r\nAccept: text/event-stream")
    assert stream.until(b"\r\n").startswith(b"HTTP/1.1 200")
    stream.close()


def test_the_filter_is_exact_and_hides_the_attach_too(marathon: StandIn) -> None:
    query = "?event_type=status_update_event&event_type=deployment_success"
    with RawStream(marathon.url, query) as stream:
        create(marathon)
        stream.event("deployment_success")
        assert set(stream.names()) == {"status_update_event", "deployment_success"}


def test_before_the_filter_existed_it_is_ignored() -> None:
    with (
        StandIn(agents={"host-1": MemoryAgent()}, era=Era(1, 1)) as marathon,
        RawStream(marathon.url, "?event_type=deployment_success") as stream,
    ):
        stream.event("event_stream_attached")


def test_everybody_hears_of_everybody_who_comes_and_goes(marathon: StandIn) -> None:
    with RawStream(marathon.url) as first:
        first.event("event_stream_attached")
        with RawStream(marathon.url) as second:
            second.event("event_stream_attached")
            first.event("event_stream_attached")
        first.event("event_stream_detached")


def test_the_events_of_a_new_app_come_in_marathons_order(marathon: StandIn) -> None:
    with RawStream(marathon.url) as stream:
        create(marathon)
        post = stream.event("api_post_event")
        assert post["uri"] == "/v2/apps"
        assert post["appDefinition"]["id"] == "/shop/web"
        assert stream.event("group_change_success")["groupId"] == "/shop"
        info = stream.event("deployment_info")
        assert info["plan"]["target"]["groups"][0]["apps"][0]["id"] == "/shop/web"
        assert info["currentStep"]["actions"] == [
            {"action": "StartApplication", "app": "/shop/web"}
        ]
        staging = stream.event("status_update_event")
        assert (staging["taskStatus"], staging["slaveId"]) == ("TASK_STAGING", "")
        running = stream.event("status_update_event")
        assert running["taskStatus"] == "TASK_RUNNING"
        assert running["ipAddresses"] == []
        assert set(running) == {
            "slaveId", "taskId", "taskStatus", "message", "appId", "host", "ipAddresses",
            "ports", "version", "eventType", "timestamp",
        }  # fmt: skip
        stream.event("deployment_step_success")
        assert set(stream.event("deployment_success")) >= {"id", "plan"}


def test_an_app_is_visible_over_rest_when_its_event_is_sent(marathon: StandIn) -> None:
    with RawStream(marathon.url) as stream:
        create(marathon)
        task_id = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        tasks = requests.get(f"{marathon.url}/v2/tasks", timeout=SOON).json()["tasks"]
    assert [(task["id"], task["state"]) for task in tasks] == [(task_id, "TASK_RUNNING")]


def test_dropped_events_are_never_seen(marathon: StandIn) -> None:
    marathon.faults.set(FaultTable(stream=StreamFaults(drop=("status_update_event",))))
    with RawStream(marathon.url) as stream:
        create(marathon)
        stream.event("deployment_success")
        assert "status_update_event" not in stream.names()


def test_events_can_come_twice(marathon: StandIn) -> None:
    marathon.faults.set(FaultTable(stream=StreamFaults(copies=2)))
    with RawStream(marathon.url) as stream:
        first = stream.event("event_stream_attached")
        assert stream.event("event_stream_attached") == first


def test_a_stream_can_be_cut_in_the_middle_of_an_event(marathon: StandIn) -> None:
    with RawStream(marathon.url) as stream:
        stream.event("event_stream_attached")
        marathon.cut_streams(Cut.MID_EVENT)
        rest = stream.rest()
    assert rest.startswith(b"event: status_update_event\r\ndata: {")
    assert not rest.endswith(b"\n")


def test_what_does_not_fit_into_a_clients_buffer_is_dropped() -> None:
    with (
        StandIn(agents={"host-1": MemoryAgent()}, event_buffer=1) as marathon,
        RawStream(marathon.url) as stream,
    ):
        stream.event("event_stream_attached")
        # One burst from the server's one thread: nobody reads as fast as it writes.
        body = {"apps": [ip_app(f"web-{number}") for number in range(100)]}
        requests.put(f"{marathon.url}/v2/groups/shop", json=body, timeout=SOON)
        tasks = requests.get(f"{marathon.url}/v2/tasks", timeout=SOON).json()["tasks"]
        assert len(tasks) == 100
        marathon.cut_streams()
        stream.rest()
        assert stream.names().count("status_update_event") < 100


def test_from_1_8_on_a_client_that_falls_behind_is_cut_off() -> None:
    with (
        StandIn(agents={"host-1": MemoryAgent()}, era=Era(1, 8), event_buffer=1) as marathon,
        RawStream(marathon.url) as stream,
    ):
        stream.event("event_stream_attached")
        app = {"cmd": "sleep 1000", "networks": [{"mode": "host"}]}
        body = {"apps": [{"id": f"web-{number}", **app} for number in range(100)]}
        requests.put(f"{marathon.url}/v2/groups/shop", json=body, timeout=SOON)
        stream.rest()


def test_a_silent_stream_still_carries_events() -> None:
    with StandIn(agents={"host-1": MemoryAgent()}, heartbeat=0.001) as marathon:
        marathon.faults.set(FaultTable(stream=StreamFaults(heartbeat=False)))
        with RawStream(marathon.url) as stream:
            create(marathon)
            stream.event("deployment_success")
            assert b"\r\n\r\n\r\n" not in stream.received


def test_streams_end_when_marathon_steps_down() -> None:
    marathon = StandIn(agents={})
    marathon.start()
    with RawStream(marathon.url) as stream:
        stream.event("event_stream_attached")
        marathon.stop()
        assert stream.rest() == b""
