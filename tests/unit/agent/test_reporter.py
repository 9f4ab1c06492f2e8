"""What the datastore is told, and how often, on a memory twin and a manual clock."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.cluster import ObjectionRecord
from calico.codec import (
    decode_applied,
    decode_host,
    decode_objection,
    encode_applied,
    encode_objection,
)
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import applied_key, felix_status_key, host_key, objection_key, status_key
from calico.model import AppliedRecord, BootId, HostName, HostRecord, TaskId
from calico.names import endpoint_of_task
from reconciler.agent.reporting.reporter import Report, Reporter
from reconciler.runtime.clock import ManualClock
from tests.unit.agent.flaky_store import FlakyStore

HOST = HostName("h1")
RECORD = HostRecord(HOST, IPAddress("10.0.0.1"), BootId("boot"), "machine", "1")
APPLIED = AppliedRecord(HOST, BootId("boot"), revision=5)
WEB = status_key(endpoint_of_task(HOST, TaskId("web.1")))
DB = status_key(endpoint_of_task(HOST, TaskId("db.1")))


@pytest.fixture
def store(memory: MemoryDatastore) -> FlakyStore:
    return FlakyStore(memory)


@pytest.fixture
def reporter(store: FlakyStore, clock: ManualClock) -> Reporter:
    return Reporter(HOST, store, clock, jitter=lambda: 1.0)


def tell(reporter: Reporter, report: Report) -> None:
    reporter.post(report)
    reporter.step()


def value(store: FlakyStore, key: Key) -> str | None:
    stored = store.get(key)
    return None if stored is None else stored.value


def test_a_host_and_its_progress_are_registered(reporter: Reporter, store: FlakyStore) -> None:
    tell(reporter, Report(RECORD, APPLIED))

    assert decode_host(HOST, value(store, host_key(HOST)) or "") == RECORD
    assert decode_applied(HOST, value(store, applied_key(HOST)) or "") == APPLIED


def test_a_sign_of_life_expires_unless_it_is_renewed(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    reporter.step()
    assert json.loads(value(store, felix_status_key(HOST)) or "")["first_update"] is True

    clock.advance(40)
    reporter.step()
    assert json.loads(value(store, felix_status_key(HOST)) or "")["first_update"] is False

    clock.advance(91)
    assert value(store, felix_status_key(HOST)) is None


def test_statuses_are_written_when_they_change_and_removed_with_their_endpoint(
    reporter: Reporter, store: FlakyStore
) -> None:
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up", DB: "down"}))
    store.writes.clear()

    tell(reporter, Report(RECORD, APPLIED, {WEB: "up", DB: "up"}))
    assert store.writes == [DB]

    tell(reporter, Report(RECORD, APPLIED, {DB: "up"}))
    assert (value(store, WEB), value(store, DB)) == (None, "up")


def test_a_status_leaves_no_empty_directory_behind(
    reporter: Reporter, store: FlakyStore, memory: MemoryDatastore
) -> None:
    second = Key(f"{WEB.rpartition('/')[0]}/ffffffffffffffffffffffffffffffff")
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up", second: "up", DB: "up"}))

    tell(reporter, Report(RECORD, APPLIED, {second: "up"}))
    assert value(store, second) == "up"
    assert memory.put(Key(DB.rpartition("/endpoint/")[0]), "free again")

    tell(reporter, Report(RECORD, APPLIED, {}))
    assert memory.put(Key(WEB.rpartition("/endpoint/")[0]), "free again")


def test_an_agent_that_knows_nothing_yet_leaves_statuses_alone(
    reporter: Reporter, store: FlakyStore
) -> None:
    store.put(WEB, "up")

    tell(reporter, Report(RECORD, APPLIED))
    assert value(store, WEB) == "up"

    tell(reporter, Report(RECORD, APPLIED, {}))
    assert value(store, WEB) is None


def test_a_second_report_of_the_same_writes_nothing(reporter: Reporter, store: FlakyStore) -> None:
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}))
    store.writes.clear()

    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}))

    assert store.writes == []


def test_mere_progress_is_told_after_ten_seconds(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    tell(reporter, Report(RECORD, APPLIED))
    progress = Report(RECORD, replace(APPLIED, revision=9))

    clock.advance(9)
    tell(reporter, progress)
    assert decode_applied(HOST, value(store, applied_key(HOST)) or "").revision == 5

    clock.advance(1)
    reporter.step()
    assert decode_applied(HOST, value(store, applied_key(HOST)) or "").revision == 9


def test_proof_that_a_task_is_gone_is_told_within_a_second(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    tell(reporter, Report(RECORD, APPLIED))
    gone = Report(RECORD, replace(APPLIED, gone=(TaskId("web.1"),)))

    tell(reporter, gone)
    assert decode_applied(HOST, value(store, applied_key(HOST)) or "").gone == ()

    clock.advance(1)
    reporter.step()
    assert decode_applied(HOST, value(store, applied_key(HOST)) or "").gone == ("web.1",)


def test_after_an_outage_the_newest_report_is_told(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}))
    store.reachable = False
    tell(reporter, Report(RECORD, APPLIED, {WEB: "error"}))
    tell(reporter, Report(RECORD, APPLIED, {DB: "up"}))

    store.reachable = True
    clock.advance(5)
    reporter.step()

    assert (value(store, WEB), value(store, DB)) == (None, "up")


def test_what_another_hand_removed_is_written_again(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}))
    store.delete(WEB)

    clock.advance(61)
    reporter.step()

    assert value(store, WEB) == "up"


def test_what_went_during_an_outage_is_written_again_at_once(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}))
    store.delete(WEB)
    store.reachable = False
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up", DB: "up"}))

    store.reachable = True
    clock.advance(5)
    reporter.step()

    assert value(store, WEB) == "up"


@pytest.mark.parametrize(
    ("held", "late", "newest"),
    [
        pytest.param({WEB: "up"}, {WEB: "down"}, {WEB: "error"}, id="another word"),
        pytest.param({WEB: "up"}, {WEB: "down"}, {WEB: "up"}, id="the word that it has"),
        pytest.param({}, {WEB: "down"}, {WEB: "up"}, id="the first word"),
        pytest.param({WEB: "up"}, {}, {WEB: "up"}, id="an endpoint that came back"),
    ],
)
def test_a_status_that_lands_late_does_not_replace_a_newer_one(
    reporter: Reporter,
    store: FlakyStore,
    clock: ManualClock,
    held: Mapping[Key, str],
    late: Mapping[Key, str],
    newest: Mapping[Key, str],
) -> None:
    # given a write of which the agent never heard
    tell(reporter, Report(RECORD, APPLIED, held))
    store.slow = True
    tell(reporter, Report(RECORD, APPLIED, late))
    store.slow = False

    # when it lands after a newer report was told
    clock.advance(5)
    tell(reporter, Report(RECORD, APPLIED, newest))
    store.land()

    # then the newer one stays
    assert value(store, WEB) == newest[WEB]


def test_a_late_write_that_came_first_is_written_over(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    # given a write that landed unheard, after what is there was read
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}))
    store.slow = True
    tell(reporter, Report(RECORD, APPLIED, {WEB: "down"}))
    clock.advance(5)
    tell(reporter, Report(RECORD, APPLIED, {WEB: "error"}))
    store.slow = False
    store.land()

    # when the agent tries again
    clock.advance(5)
    reporter.step()

    # then its newest word is there, and it has nothing more to say
    assert value(store, WEB) == "error"
    store.writes.clear()
    reporter.step()
    assert store.writes == []


OBJECTION = ObjectionRecord(HOST, BootId("boot"), "former", 3, ((WEB, "{}"),), (HOST,))
DOUBTING = replace(APPLIED, revision=0, guid="former", takeover=3, doubt="it was wiped")


def test_what_a_host_holds_of_another_store_is_told_until_this_one_is_believed(
    reporter: Reporter, store: FlakyStore, clock: ManualClock
) -> None:
    tell(reporter, Report(RECORD, DOUBTING, None, OBJECTION))
    assert decode_objection(HOST, value(store, objection_key(HOST)) or "") == OBJECTION

    clock.advance(30)
    tell(reporter, Report(RECORD, replace(APPLIED, guid="this"), {}))
    assert value(store, objection_key(HOST)) is None


def test_what_an_agent_told_before_it_was_stopped_is_taken_back(
    reporter: Reporter, memory: MemoryDatastore, store: FlakyStore
) -> None:
    memory.put(objection_key(HOST), encode_objection(OBJECTION))
    tell(reporter, Report(RECORD, APPLIED, {}))
    assert value(store, objection_key(HOST)) is None


def test_an_agent_that_knows_no_datastore_yet_takes_no_objection_back(
    reporter: Reporter, memory: MemoryDatastore, store: FlakyStore
) -> None:
    # given an agent that objected, and was restarted
    memory.put(objection_key(HOST), encode_objection(OBJECTION))
    memory.put(applied_key(HOST), encode_applied(DOUBTING))

    # when it reports before it has read the datastore
    tell(reporter, Report(RECORD, None))

    # then it registers, and leaves its objection as it was
    assert value(store, host_key(HOST)) is not None
    assert value(store, objection_key(HOST)) == encode_objection(OBJECTION)
    assert value(store, applied_key(HOST)) == encode_applied(DOUBTING)
    assert reporter.wait() > 1, "nothing is left to be told"


@pytest.mark.parametrize(
    ("told", "known"),
    [
        pytest.param(replace(APPLIED, doubt="it was wiped"), True, id="it is doubted"),
        pytest.param(replace(APPLIED, guid="this"), True, id="it is another one that is believed"),
        pytest.param(APPLIED, False, id="the host is no longer in it"),
    ],
)
def test_another_store_is_told_everything_at_once(
    reporter: Reporter,
    memory: MemoryDatastore,
    store: FlakyStore,
    clock: ManualClock,
    told: AppliedRecord,
    known: bool,
) -> None:
    # given a store that was told everything, and lost it without a failed write
    tell(reporter, Report(RECORD, APPLIED, {WEB: "up"}, is_registered=True))
    for key in (host_key(HOST), WEB, felix_status_key(HOST)):
        memory.delete(key)

    # when the agent has noticed
    clock.advance(1)
    tell(reporter, Report(RECORD, told, {WEB: "up"}, is_registered=known))

    # then it is told anew
    assert value(store, host_key(HOST)) is not None
    assert value(store, WEB) == "up"
    assert value(store, felix_status_key(HOST)) is not None, "nobody knows that it is alive"


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(replace(APPLIED, takeover=4), id="a takeover"),
        pytest.param(replace(APPLIED, doubt="it was wiped"), id="a doubt"),
    ],
)
def test_a_leader_waits_for_word_of(
    reporter: Reporter, store: FlakyStore, clock: ManualClock, told: AppliedRecord
) -> None:
    tell(reporter, Report(RECORD, APPLIED, {}))
    clock.advance(1)
    tell(reporter, Report(RECORD, told, {}))
    assert decode_applied(HOST, value(store, applied_key(HOST)) or "") == told
