"""What the page is told over time; the clock is the test's."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from demo.star.collect.parties import Own
from demo.star.collect.polling import Answer
from demo.star.collect.resources import Resource
from demo.star.collect.scene import Scene, Seen
from demo.star.collect.told import BadFactsError, Facts, parse_facts

A = Resource("A", "http://probe-a.star.marathon.mesos:9000/status")
B = Resource("B", "http://probe-b.star.marathon.mesos:9000/status")
Shown = dict[str, Any]


def told(
    groups: dict[str, str], verdict: str = "IN_SYNC", waiting: dict[str, str] | None = None
) -> Facts:
    """One task per name, as star-facts tells; `name.number` is another task of it."""
    tasks = [
        {
            "task": f"star_probe-{name}",
            "app": f"/star/probe-{name.partition('.')[0]}",
            "host": "host-1",
            "address": "",
            "groups": [group],
            "verdict": verdict,
            "reason": "",
        }
        for name, group in groups.items()
    ]
    expected = [
        {
            "from": f"star_probe-{one}",
            "to": f"star_probe-{other}",
            "port": 9000,
            "allowed": groups[one] == groups[other],
        }
        for one in groups
        for other in groups
        if one != other
    ]
    waits = [{"app": app, "reason": reason} for app, reason in (waiting or {}).items()]
    return parse_facts({"tasks": tasks, "expected": expected, "hosts": [], "waiting": waits})


@dataclass
class Film:
    """A scene that is looked at every second."""

    scene: Scene = field(default_factory=Scene)
    now: float = 100.0

    def look(self, facts: Facts | None, reached: bool | None, asked: float | None = None) -> Shown:
        """A second later: B answers and A tells whether it reached B."""
        self.now += 1
        target = {"url": B.url, "reachable": reached, "age": 0.0}
        status = {"status": {"targets": [] if reached is None else [target]}}
        answers = {
            each.id: Answer(self.now - 0.1, self.now, 200, status, "", reached=True)
            for each in (A, B)
        }
        if reached is None:
            answers["B"] = Answer(self.now - 0.1, self.now)
        seen = Seen(
            (A, B),
            answers,
            facts is not None,
            facts,
            self.now if asked is None else asked,
            "",
            Own("/star/collect", "host-1"),
        )
        return self.scene.look(seen, self.now, 1000 + self.now)


def state(shown: Shown, sender: str = "A", receiver: str = "B") -> str:
    cells = {(each["from"], each["to"]): each["state"] for each in shown["cells"]}
    found: str = cells[sender, receiver]
    return found


def test_a_pair_settles_before_it_is_judged() -> None:
    film, together = Film(), told({"a": "g", "b": "g"})
    assert state(film.look(together, True)) == "settling"
    assert state(film.look(together, True)) == "ok-allowed"


def test_a_leak_is_one_entry_that_ends_with_it() -> None:
    film, apart = Film(), told({"a": "g", "b": "h"})
    film.look(apart, False)
    film.look(apart, False)
    film.look(apart, True)
    shown = film.look(apart, True)
    assert state(shown) == "LEAK"
    assert [each["text"] for each in shown["timeline"]] == [
        "probe-a reaches probe-b, which it should not"
    ]
    shown = film.look(apart, False)
    assert shown["timeline"][0]["settled"] == 1.0
    assert len(film.look(apart, False)["timeline"]) == 1


def test_a_task_that_begins_to_answer_late_or_ends_is_never_told_to_be_broken() -> None:
    film, together = Film(), told({"a": "g", "b": "g"})
    shown = [film.look(together, reached) for reached in (False, False, False, True, True)]
    shown += [film.look(together, False), film.look(together, False)]
    shown += [film.look(told({"a": "g"}), False)]
    assert {state(each) for each in shown} == {"settling", "ok-allowed"}
    assert not [each for each in shown[-1]["timeline"] if each["kind"] == "BROKEN"]


def test_what_stays_unreached_is_told_to_be_broken_within_seconds() -> None:
    film, together = Film(), told({"a": "g", "b": "g"})
    film.look(together, True)
    film.look(together, True)
    states = [state(film.look(together, False)) for _ in range(5)]
    assert states == ["settling", "settling", "settling", "BROKEN", "BROKEN"]


def test_facts_that_are_older_than_the_difference_alarm_nobody() -> None:
    film, apart = Film(), told({"a": "g", "b": "h"})
    film.look(apart, False)
    film.look(apart, False)
    asked = film.now
    for _ in range(5):
        assert state(film.look(apart, True, asked)) == "settling"


def test_a_regroup_settles_and_tells_how_long_it_took() -> None:
    film = Film()
    for _ in range(3):
        film.look(told({"a": "g", "b": "g"}), True)
    both = told({"a": "g", "b": "g", "b.2": "h"})
    assert state(film.look(both, True)) == "settling"
    assert state(film.look(both, True)) == "settling"
    after = told({"a": "g", "b.2": "h"})
    assert state(film.look(after, False)) == "settling"
    shown = film.look(after, False)
    assert state(shown) == "ok-denied"
    entries = {each["text"]: each["settled"] for each in shown["timeline"]}
    assert entries == {
        "probe-b started on host-1, g → h": 3.0,
        "probe-b ended on host-1": 1.0,
    }


def test_who_ended_keeps_its_name_and_has_no_data() -> None:
    film = Film()
    for _ in range(3):
        film.look(told({"a": "g", "b": "g"}), True)
    shown = film.look(told({"a": "g"}), None)
    shown = film.look(told({"a": "g"}), None)
    node = next(each for each in shown["nodes"] if each["party"] == "B")
    assert node["ring"] == "gone"
    assert state(shown, "collect") == "no-data"
    assert shown["timeline"][0]["text"] == "probe-b ended on host-1"
    assert {each["name"] for each in shown["parties"]} == {"collect", "probe-a", "probe-b"}


def test_who_waits_for_a_host_is_said_to_wait_and_is_not_judged() -> None:
    film, reason = Film(), "waits in /v2/queue for an offer with a free port 9000"
    facts = told({"a": "g"}, waiting={"/star/probe-b": reason})
    film.look(facts, None)
    shown = film.look(facts, None)
    node = next(each for each in shown["nodes"] if each["party"] == "B")
    assert (node["ring"], node["reason"]) == ("waiting", reason)
    note = next(each["note"] for each in shown["cells"] if each["to"] == "B")
    assert (state(shown, "collect"), note) == ("no-data", f"probe-b {reason}.")


def test_without_facts_it_shows_what_is_measured() -> None:
    film = Film()
    shown = film.look(None, True)
    assert (shown["mode"], state(shown), state(shown, "collect")) == (
        "measured",
        "reached",
        "reached",
    )
    assert state(film.look(None, False)) == "not-reached"


def test_a_task_that_is_not_in_sync_is_shown_so() -> None:
    shown = Film().look(told({"a": "g", "b": "g"}, verdict="FAILED"), True)
    assert state(shown) == "settling"
    assert {each["ring"] for each in shown["nodes"] if each["task"]} == {"failed"}


def test_old_facts_are_told_as_a_problem() -> None:
    film, facts = Film(), told({"a": "g", "b": "g"})
    assert film.look(facts, True)["problem"] == ""
    assert film.look(facts, True, asked=film.now - 3)["problem"] != ""


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(None, id="nothing"),
        pytest.param({}, id="empty"),
        pytest.param({"tasks": {}, "expected": []}, id="no list"),
        pytest.param({"tasks": [{"task": 1}], "expected": []}, id="a number for a name"),
        pytest.param(
            {"tasks": [], "expected": [{"from": "a", "to": "b", "port": "x", "allowed": True}]},
            id="a word for a port",
        ),
    ],
)
def test_facts_that_are_not_understood_are_refused(raw: object) -> None:
    with pytest.raises(BadFactsError):
        parse_facts(raw)
