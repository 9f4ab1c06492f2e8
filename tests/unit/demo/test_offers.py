"""Which ports of a host a task gets, and what is told of hosts that had none."""

import pytest

from demo.marathon.definitions.pods import Backoff
from demo.marathon.definitions.ports import host_ports
from demo.marathon.launch.delays import VIABLE_SECONDS, Delays
from demo.marathon.launch.offers import CONSTRAINT, PORTS, Declined, Offers
from demo.mesos.records import AppId, HostName, PortRanges
from demo.mesos.resources import parse_resources

WEB = AppId("/shop/web")
OFFERED: PortRanges = ((9000, 9001), (31000, 31002))
EARLY, LATE = "2016-01-01T00:00:00.000Z", "2016-01-02T00:00:00.000Z"


@pytest.mark.parametrize(
    ("asked", "taken", "given"),
    [
        pytest.param([9000], set(), (9000,), id="one by its number"),
        pytest.param([9000], {9000}, None, id="one that is taken"),
        pytest.param([9002], set(), None, id="one that is not offered"),
        pytest.param([9000, 9000], set(), None, id="one twice"),
        pytest.param([0, 0], {31000}, (31001, 31002), id="any two"),
        pytest.param([0, 31000], set(), (31001, 31000), id="any beside one by its number"),
        pytest.param([0], {31000, 31001, 31002}, None, id="any, and none is left"),
    ],
)
def test_a_task_gets_what_is_offered_and_free(
    asked: list[int], taken: set[int], given: tuple[int, ...] | None
) -> None:
    requests = [{"port": port} for port in asked]
    assert host_ports(requests, OFFERED, taken, 0) == given


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        pytest.param("ports:[31000-32000]", ((31000, 32000),), id="Mesos' own"),
        pytest.param("ports(*):[1-2, 9-9]", ((1, 2), (9, 9)), id="two, of any role"),
    ],
)
def test_resources_are_written_as_for_mesos(text: str, ranges: PortRanges) -> None:
    assert parse_resources(text) == ranges


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("cpus:2", id="no ports"),
        pytest.param("ports:[9-1]", id="backwards"),
        pytest.param("ports:[1-70000]", id="too high"),
    ],
)
def test_other_resources_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="resources"):
        parse_resources(text)


def test_the_queue_tells_how_many_hosts_lacked_what() -> None:
    offers = Offers()
    one, two = HostName("host-1"), HostName("host-2")
    offers.looked(WEB, [Declined(one, PORTS)], True, EARLY)
    offers.looked(WEB, [Declined(one, PORTS), Declined(two, CONSTRAINT)], False, LATE)

    row = offers.render(WEB, LATE, with_offers=True)

    summary = row["processedOffersSummary"]
    assert row["since"] == EARLY
    assert (summary["processedOffersCount"], summary["unusedOffersCount"]) == (4, 3)
    assert (summary["lastUsedOfferAt"], summary["lastUnusedOfferAt"]) == (EARLY, LATE)
    last = {each["reason"]: each for each in summary["rejectSummaryLastOffers"]}
    assert (last[CONSTRAINT]["declined"], last[CONSTRAINT]["processed"]) == (1, 2)
    assert (last[PORTS]["declined"], last[PORTS]["processed"]) == (1, 1)
    told = [(each["offer"]["hostname"], each["reason"]) for each in row["lastUnusedOffers"]]
    assert told == [("host-1", [PORTS]), ("host-2", [CONSTRAINT])]


def test_who_fails_again_and_again_waits_longer_each_time_up_to_a_limit() -> None:
    delays, backoff = Delays(), Backoff(1.0, 2.0, 5.0)
    now, waits = 0.0, []
    for _ in range(5):
        delays.failed(WEB, backoff, now)
        waits.append(delays.until(WEB, now) - now)
        now = delays.until(WEB, now) + 0.5
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]

    now += VIABLE_SECONDS
    delays.failed(WEB, backoff, now)
    assert delays.until(WEB, now) - now == 1.0
