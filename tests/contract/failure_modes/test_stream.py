"""F1, F3 to F14 and F26: the event stream goes wrong."""

import logging
import threading
import time

import pytest

from demo.marathon import Era, FaultTable, Standby, StreamFaults
from demo.marathon.serving.stream import Cut
from marathon_client.stream import Backoff, Disconnected, EventStream
from tests.contract.failure_modes.world import SOON, World, following
from tests.contract.stand_in.era_world import app_of, marathon_of

SILENT = StreamFaults(heartbeat=False, drop=("*",))


def test_f01_a_peer_that_falls_silent_is_left_and_the_list_read_anew() -> None:
    with following(idle=0.4) as world:
        world.break_stream(SILENT)
        world.deploy()
        world.by_event(lambda: len(world.opened()) == 1)


def test_f03_events_that_are_dropped_are_made_up_for_by_the_timed_list(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with following() as world:
        # given a time in which timed lists found nothing that events had not told
        world.deploy("/told")
        world.until_open(1)
        world.pass_by(100)
        assert drift(world) == 0

        world.break_stream(StreamFaults(drop=("*",)))
        world.deploy(instances=3)
        world.until(lambda: len(world.running()) == 4)
        # The interval of 60 s, and what it varies by; told as a drift.
        world.pass_by(60 * 1.2 + 3)
        assert len(world.opened()) == 4
        assert drift(world) == 3

        # Of an end nobody heard either, so that it takes a second list.
        world.change(instances=2)
        world.until(lambda: len(world.running()) == 3)
        world.pass_by(60 * 1.2 + 30 + 3)
        assert world.opened() == world.running()
        assert drift(world) == 4
    assert "drift found by a timed list" in caplog.text


def drift(world: World) -> float | None:
    """The metric of tasks that only a timed list brought up to date."""
    registry = world.cluster.metrics.registry
    return registry.get_sample_value("marathon_calico_controller_drift_total")


@pytest.mark.parametrize("how", list(Cut), ids=str)
@pytest.mark.parametrize("missed", range(6))
def test_f04_what_happens_while_no_stream_is_open_is_in_the_next_list(
    how: Cut, missed: int
) -> None:
    # given a stream that loses everything from the n-th change on, then ends
    with following() as world:
        for number in range(6):
            if number == missed:
                world.break_stream(StreamFaults(drop=("*",)))
            world.deploy(f"/app-{number}")
        world.heal()
        world.marathon.stand_in.cut_streams(how)

        # then the list that follows its end has what was lost
        world.by_event(lambda: len(world.running()) == 6 == len(world.opened()))


def test_f05_a_stream_of_a_leader_that_was_deposed_is_opened_anew() -> None:
    with following() as world:
        # given heartbeats of one that every answer says does not lead any more
        world.marathon.stand_in.faults.set(FaultTable(leader="10.9.9.9:8080"))
        world.pass_by(80)

        # then the stream is opened anew, and only once for that leader
        assert world.cluster.reconnects == 1
        world.pass_by(200)
        assert world.cluster.reconnects == 1


def test_f06_the_other_urls_serve_while_the_first_is_down() -> None:
    with following(urls=("http://127.0.0.1:9", "")) as world:
        world.deploy()
        world.by_event(lambda: len(world.opened()) == 1)


def test_f07_the_stream_comes_from_the_leader_not_from_a_standby_that_lumps_it() -> None:
    era = Era(1, 4)
    with marathon_of(era) as marathon, Standby(era, marathon.stand_in.address, late=3.0) as other:
        stream = EventStream([other.url], backoff=SOON)
        items = iter(stream)
        next(items)
        began = time.monotonic()
        marathon("POST", "/v2/apps", app_of(era), status=201)
        next(items)
        stream.stop()
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("era", [Era(1, 7), Era(1, 9)], ids=str)
def test_f08_a_redirect_to_the_leader_is_followed(era: Era) -> None:
    with marathon_of(era) as marathon, Standby(era, marathon.stand_in.address) as other:
        stream = EventStream([other.url], backoff=SOON)
        connected = next(iter(stream))
        stream.stop()
    assert not isinstance(connected, Disconnected)


def test_f09_a_stream_that_ends_at_once_is_not_pressed() -> None:
    with marathon_of(Era(1, 4)) as marathon:
        marathon.stand_in.faults.set(FaultTable(stream=StreamFaults(ends=True)))
        stream = EventStream([marathon.url], backoff=Backoff(least=0.05, most=10.0), jitter=_half)
        guard = threading.Timer(1.5, stream.stop)
        guard.start()
        ends = sum(isinstance(item, Disconnected) for item in stream)
        guard.join()
    # Pauses that double from 0.05 s: five fit into the time, where a loop
    # without them makes hundreds.
    assert 3 <= ends <= 7


def test_f10_a_refused_stream_is_told_in_one_line_and_lists_serve_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with following() as world:
        world.break_stream(StreamFaults(refuse=405))
        world.marathon.stand_in.cut_streams()
        world.deploy()
        world.pass_by(100)
        assert len(world.opened()) == 1
    lost = [record for record in caplog.records if record.message == "event stream lost"]
    reasons = {record.__dict__["why"] for record in lost}
    assert any("405" in reason for reason in reasons)
    assert len(lost) == len(reasons)


def test_f11_half_an_event_at_the_end_is_dropped() -> None:
    with following() as world:
        world.deploy()
        world.by_event(lambda: len(world.opened()) == 1)
        before = world.stream.stats.connects
        world.marathon.stand_in.cut_streams(Cut.MID_EVENT)
        world.change(instances=2)
        world.by_event(lambda: len(world.opened()) == 2)
        world.until(lambda: world.stream.stats.connects > before)
    assert world.stream.stats.unreadable == 0


def test_f12_heartbeats_between_events_are_no_events() -> None:
    with following(heartbeat=0.002) as world:
        world.deploy(instances=5)
        world.by_event(lambda: len(world.opened()) == 5)
        world.end(sorted(world.running())[0])
        world.by_event(lambda: len(world.running()) == 5 and world.opened() == world.running())
        lists = world.client.lists
        world.pass_by(20)
    assert world.client.lists == lists


def test_f13_an_event_that_is_too_large_ends_the_stream_and_a_list_follows() -> None:
    with following(most_event_bytes=4_000) as world:
        world.deploy(labels={"much": "x" * 10_000})
        world.by_event(lambda: len(world.opened()) == 1)


def test_f14_events_that_come_thrice_and_in_the_wrong_order_end_nobody_who_lives() -> None:
    with following() as world:
        world.deploy(instances=4)
        world.until_open(4)
        # given events in lumps, each thrice, the youngest first
        world.break_stream(StreamFaults(copies=3, youngest_first=True, delay=0.3))
        staying = world.opened()

        # when one task after the other fails and is followed by another
        for task in sorted(staying)[:2]:
            world.end(task)
            world.pass_by(2, lambda: staying & world.running() <= world.opened())

        # then those that live were never without their endpoint
        world.by_event(lambda: len(world.running()) == 4 and world.opened() == world.running())
        assert len(staying & world.opened()) == 2


def test_f26_an_end_after_a_minute_is_usual_and_one_before_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with following() as world:
        for seconds in (5.0, 90.0):
            world.pass_by(seconds)
            before = world.client.lists
            world.marathon.stand_in.cut_streams()
            world.until(lambda before=before: world.client.lists > before)
    levels = [r.levelno for r in caplog.records if r.message == "event stream lost"]
    assert levels == [logging.WARNING, logging.INFO]


def _half() -> float:
    return 0.5
