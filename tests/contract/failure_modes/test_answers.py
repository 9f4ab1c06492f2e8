"""F2, F15 to F18, F23, F25, F27 and F29: REST and the lists go wrong."""

import socket
import threading
import time
from collections.abc import Callable

import pytest
import requests

from demo.marathon import Answer, Era, FaultTable, RestFault, StreamFaults
from marathon_client.errors import MarathonUnavailable
from marathon_client.events import TaskStatus
from marathon_client.models import AppId, TaskId, TaskState
from marathon_client.stream import Backoff, Connected, Disconnected, EventStream
from reconciler.controller.marathon.hints import subject
from reconciler.controller.scheduling.intake import Message
from reconciler.runtime.inbox import Inbox
from tests.contract.failure_modes.world import QUICK, WEB, World, following
from tests.contract.stand_in.era_world import marathon_of
from tests.unit.marathon_client.loopback import Loopback


def running(app: str, task: str) -> TaskStatus:
    """Marathon says of a task that it runs."""
    return TaskStatus(AppId(app), TaskId(task), TaskState.RUNNING, "host-1")


LISTS = "/v2/apps"
ONE = f"/v2/apps{WEB}"


def test_f02_a_marathon_that_never_answers_delays_no_app_for_good() -> None:
    # given a first URL where connections are taken and nothing is ever said
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with following(urls=(url, ""), timeouts=QUICK) as world:
            world.deploy()
            world.deploy("/other")
            world.by_event(lambda: len(world.opened()) == 2)


def test_f02_reads_that_hang_delay_no_other_app_and_are_made_again() -> None:
    with following(timeouts=QUICK) as world:
        world.break_rest(RestFault(Answer.HANG, path=ONE))
        world.deploy()
        world.deploy("/other")
        world.by_event(lambda: any(each.startswith("other") for each in world.opened()))
        assert len(world.opened()) == 1

        world.heal()
        world.until_open(2)


@pytest.mark.parametrize("times", [1, 3])
def test_f15_an_event_that_is_ahead_of_rest_is_looked_at_again(times: int) -> None:
    with following() as world:
        world.deploy()
        world.until_open(1)
        world.client.app(AppId(WEB))
        # given reads that show the app as it was before its change
        world.break_rest(RestFault(Answer.STALE, path=ONE, times=times))
        world.client.app(AppId(WEB))
        world.change(instances=3)
        world.by_event(lambda: len(world.running()) == 3 and world.opened() == world.running())


def test_f15_an_app_that_is_not_found_keeps_its_tasks() -> None:
    with following() as world:
        world.deploy(instances=3)
        world.until_open(3)
        opened = world.opened()
        world.break_rest(RestFault(Answer.STATUS, path=ONE, method="GET", status=404))
        world.tell(sorted(opened)[0], "TASK_RUNNING")
        world.pass_by(200, lambda: opened <= world.opened())


OTHERS = {"frameworkId": "other-0000"}
WRONG_LISTS = [
    pytest.param((RestFault(Answer.EMPTY, path=LISTS),), id="empty"),
    pytest.param((RestFault(Answer.TRUNCATED, path="/v2/*"),), id="cut in the middle"),
    pytest.param((RestFault(Answer.HTML, path="/v2/*"),), id="a page of a proxy"),
    pytest.param((RestFault(Answer.STATUS, path="/v2/*", status=500),), id="a failure"),
    pytest.param((RestFault(Answer.LACKING, path=LISTS, ids=f"{WEB}-0"),), id="without one app"),
    # So say the apps themselves when they are asked one by one.
    pytest.param((RestFault(Answer.LACKING, path="/v2/*", ids="*"),), id="without any task"),
    pytest.param(
        (RestFault(Answer.LACKING, path="/v2/*", ids="shop_web-[0-5].*"),), id="without most"
    ),
    pytest.param(
        (RestFault(Answer.LACKING, path=LISTS, ids="shop_web-3.*"),), id="without one app's tasks"
    ),
    pytest.param(
        (
            RestFault(Answer.PATCHED, path="/v2/info", fields=OTHERS),
            # Few enough to be believed of our own.
            RestFault(Answer.LACKING, path="/v2/*", ids="shop_web-3.*"),
        ),
        id="of another framework",
    ),
]


def named(world: World) -> set[str]:
    """The tasks that a list names as it is answered now; nobody where there is none."""
    try:
        listed = world.client.apps()
    except MarathonUnavailable:
        return set()
    return {str(task.id) for app in listed.apps for task in app.tasks}


@pytest.mark.parametrize("faults", WRONG_LISTS)
def test_f16_a_wrong_list_ends_nobody_however_long_it_is_served(
    faults: tuple[RestFault, ...],
) -> None:
    with following() as world:
        for number in range(8):
            world.deploy(f"{WEB}-{number}")
        world.until_open(8)
        living = world.opened()
        world.break_rest(*faults)
        assert not living <= named(world)
        world.pass_by(300, lambda: living <= world.opened())

        # then what changes is followed again as soon as answers are right
        world.heal()
        world.deploy(f"{WEB}-8")
        world.by_event(lambda: len(world.opened()) == 9)
        world.pass_by(90, lambda: living <= world.opened())


def test_f16_a_list_of_long_ago_ends_nobody_who_began_since() -> None:
    with following() as world:
        world.deploy(f"{WEB}-0")
        world.until_open(1)
        # given lists that show from now on what there is at this moment
        world.break_rest(RestFault(Answer.STALE, path=LISTS))
        assert named(world) == world.opened()
        for number in range(1, 8):
            world.deploy(f"{WEB}-{number}")
        world.until_open(8)
        living = world.opened()
        assert len(named(world)) == 1
        world.pass_by(300, lambda: living <= world.opened())


def test_f17_a_storm_of_events_is_not_a_storm_of_reads() -> None:
    with following() as world:
        world.deploy()
        world.until_open(1)
        (name,) = world.opened()
        before = world.client.reads[AppId(WEB)]
        began = world.cluster.clock.monotonic()
        for _ in range(1_000):
            world.cluster.loop.handle(running(WEB, name))
            world.cluster.settle()
        world.pass_by(5)
        seconds = world.cluster.clock.monotonic() - began
        reads = world.client.reads[AppId(WEB)] - before
    # A burst, then five a second while the storm is on; it is over after one.
    assert reads <= 10
    assert seconds < 10


def test_f18_clients_that_are_cut_at_once_come_back_spread_out() -> None:
    # given a thousand clients whose leader starts anew and refuses them twice
    backoff = Backoff()
    pauses = [backoff.pause(3, number / 1_000) for number in range(1_000)]

    # then no tenth of the time sees more than a fifth of them
    width = (max(pauses) - min(pauses)) / 10
    tenths = [int((pause - min(pauses)) / width) for pause in pauses]
    assert max(map(tenths.count, range(11))) <= 200


def test_f18_a_leader_that_starts_anew_is_not_asked_by_all_at_once() -> None:
    # given two dozen clients of a Marathon that ends their streams and refuses new ones
    with marathon_of(Era(1, 4)) as marathon:
        clients = [Returning(marathon.url) for _ in range(24)]
        try:
            wait_for(lambda: all(each.connects == 1 for each in clients))
            marathon.stand_in.faults.set(FaultTable(stream=StreamFaults(refuse=503)))
            marathon.stand_in.cut_streams()
            wait_for(lambda: all(each.refusals >= 3 for each in clients))

            # when it serves again
            marathon.stand_in.faults.set(FaultTable())
            wait_for(lambda: all(each.connects == 2 for each in clients))
        finally:
            for each in clients:
                each.end()

    # then they are back one by one
    back = sorted(each.back for each in clients)
    assert back[-1] - back[0] > 0.25
    width = (back[-1] - back[0]) / 10
    tenths = [int((each - back[0]) / width) for each in back]
    assert max(map(tenths.count, range(11))) <= len(clients) // 2


class Returning:
    """One client of a stream, and when it came back to it."""

    def __init__(self, url: str) -> None:
        self.connects = 0
        self.refusals = 0
        self.back = 0.0
        self._stream = EventStream([url], backoff=Backoff(least=0.1, most=2.0))
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        for item in self._stream:
            if isinstance(item, Connected):
                self.back = time.monotonic()
                self.connects += 1
            elif isinstance(item, Disconnected) and "503" in item.reason:
                self.refusals += 1

    def end(self) -> None:
        self._stream.stop()
        self._thread.join()


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until this holds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_f23_a_stream_that_is_packed_for_others_is_heard_at_once() -> None:
    with following() as world:
        # given a proxy that packs streams for whoever takes that
        world.break_stream(StreamFaults(packs=True))
        world.marathon.stand_in.cut_streams()
        world.pass_by(5)
        world.until(lambda: world.stream.stats.connected)
        with requests.get(
            f"{world.marathon.url}/v2/events",
            headers={"Accept": "text/event-stream"},
            stream=True,
            timeout=(5.0, 1.0),
        ) as packed:
            world.deploy()
            world.by_event(lambda: len(world.opened()) == 1)

            # then others would have heard nothing yet
            assert packed.headers["Content-Encoding"] == "gzip"
            with pytest.raises(requests.ConnectionError, match="timed out"):
                next(packed.iter_lines())


def test_f23_nobody_is_asked_to_compress_the_stream() -> None:
    with Loopback({}) as server:
        stream = EventStream([server.url], backoff=Backoff(least=0.01, most=0.02))
        next(iter(stream))
        stream.stop()
        asked = [each for each in server.requests if each.path == "/v2/events"]
    assert [each.all("Accept-Encoding") for each in asked] == [["identity"]]


def test_f25_refused_credentials_are_neither_pressed_nor_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with following() as world:
        world.deploy()
        world.until_open(1)
        world.break_rest(RestFault(Answer.STATUS, path="/v2/*", method="GET", status=401))
        before = world.client.lists + sum(world.client.reads.values())
        world.change(instances=2)
        world.pass_by(120, lambda: bool(world.opened()))
        asked = world.client.lists + sum(world.client.reads.values()) - before
        world.heal()
        world.until_open(2)
    # Backoff to 30 s for the list and for the one app, not a loop.
    assert asked <= 40
    told = [r for r in caplog.records if "401" in str(r.__dict__.get("why"))]
    assert 1 <= len(told) <= 4


def test_f27_events_that_come_while_rest_is_down_wait_once_for_each_subject() -> None:
    inbox: Inbox[Message] = Inbox(subject)
    for number in range(50_000):
        inbox.post(running(f"/app-{number % 20}", f"t{number % 100}"))

    assert len(inbox.drain(0)) == 100


def test_f27_what_events_ask_for_while_rest_is_down_is_asked_for_once_after_it() -> None:
    with following() as world:
        world.deploy(instances=2)
        world.until_open(2)
        world.break_rest(RestFault(Answer.STATUS, path="/v2/*", method="GET"))
        (name, _) = world.opened()
        for _ in range(200):
            world.tell(name, "TASK_RUNNING")
        world.pass_by(60, lambda: len(world.opened()) == 2)

        before = world.client.reads[AppId(WEB)]
        world.heal()
        world.change(instances=3)
        world.until_open(3)

        assert world.client.reads[AppId(WEB)] - before <= 10


def test_f29_a_slow_list_is_asked_for_once_and_delays_no_app_longer_than_it_takes() -> None:
    with following() as world:
        world.break_rest(RestFault(Answer.DELAY, path=LISTS, seconds=2.0))
        lists = world.client.lists
        world.marathon.stand_in.cut_streams()
        world.deploy()
        world.by_event(lambda: len(world.opened()) == 1)
        assert world.client.lists - lists <= 2
