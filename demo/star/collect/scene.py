"""All that the page shows, from what was measured and told; its time is an argument.

It remembers since when each pair is wanted as it is and since when it differs:
a measurement counts only if it is newer than what it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from demo.star.collect.parties import Own, Party, Try, find_parties, find_tries
from demo.star.collect.polling import Answer
from demo.star.collect.resources import Resource
from demo.star.collect.states import Expected, State, judge
from demo.star.collect.timeline import Timeline
from demo.star.collect.told import IN_SYNC, Facts

#: What star-facts tells may be as old as this; it reads etcd no oftener.
FACTS_LAG = 0.5
#: Facts that are older than this are told to be old.
OLD_FACTS = 3.0
#: In a small cluster hosts are shown before anything stands on them.
MOST_EMPTY_HOSTS = 4
IN_TROUBLE = frozenset({"FAILED", "REFUSED", "MISSING", "ORPHANED"})

Pair = tuple[str, str]
Shown = dict[str, object]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment; `asked` is when the newest facts were asked for."""

    resources: tuple[Resource, ...] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict)
    wants_facts: bool = False
    facts: Facts | None = None
    asked: float = 0.0
    problem: str = ""
    own: Own = field(default_factory=Own)


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair with its state and the sentence on it."""

    tried: Try
    allowed: bool | None
    state: State
    note: str


class Scene:
    """Looks again and again, and remembers what it takes to judge."""

    def __init__(self) -> None:
        self._wanted: dict[Pair, tuple[object, float]] = {}
        self._differs: dict[Pair, float] = {}
        self._confirmed: dict[Pair, float] = {}
        self._alarms: dict[Pair, State] = {}
        self._parties: dict[str, Party] = {}
        self._apps: dict[str, str] = {}
        self._with_tasks: set[str] = set()
        self._had_facts = False
        self._timeline = Timeline()

    def look(self, seen: Seen, now: float, clock: float) -> Shown:
        """The page's state at a moment of a steady clock, and of the wall's."""
        parties = find_parties(seen.resources, seen.answers, seen.facts, seen.own, apps=self._apps)
        by_id = {party.id: party for party in parties}
        # Who has ended is still known by its name.
        self._apps = {each.url: by_id[each.id].app for each in seen.resources}
        cells = [
            self._judge(tried, by_id, seen, now)
            for tried in find_tries(parties, seen.resources, seen.answers)
        ]
        self._note_parties(by_id, seen, now=now, clock=clock)
        self._note_alarms(cells, by_id, now=now, clock=clock)
        self._forget({(cell.tried.sender, cell.tried.receiver) for cell in cells})
        self._timeline.settle([*_unsettled(cells, by_id)], now)
        return {
            "mode": "facts" if seen.wants_facts else "measured",
            "problem": _problem(seen, now),
            "parties": [_party(party) for party in parties],
            "nodes": [node for party in parties for node in _nodes(party, seen.facts)],
            "hosts": _hosts(seen.facts, parties),
            "groups": sorted({group for party in parties for group in _groups(party)}),
            "cells": [_cell(cell) for cell in cells],
            "timeline": self._timeline.shown(),
        }

    def _judge(self, tried: Try, by_id: Mapping[str, Party], seen: Seen, now: float) -> Cell:
        pair = (tried.sender, tried.receiver)
        sender, receiver = by_id[tried.sender], by_id[tried.receiver]
        expected = self._expect(tried, sender, receiver, seen, now)
        measured = tried.measured
        if measured is None or expected.allowed in (None, measured.reached):
            self._differs.pop(pair, None)
        else:
            self._differs.setdefault(pair, measured.heard)
        state, note = judge(expected, measured, self._differs.get(pair), now)
        if seen.facts is not None and state in (State.NOT_REACHED, State.NO_DATA):
            parties = (sender, receiver)
            absent = [each for each in parties if not each.tasks and not each.answers]
            if absent:
                return Cell(tried, None, State.NO_DATA, _why_absent(absent, seen.facts))
        return Cell(tried, expected.allowed, state, note)

    def _expect(
        self, tried: Try, sender: Party, receiver: Party, seen: Seen, now: float
    ) -> Expected:
        facts = seen.facts
        if facts is None:
            return Expected()
        reaches = [
            facts.expected.get((one.task, other.task, tried.port))
            for one in sender.tasks
            for other in receiver.tasks
        ]
        told = {reach.allowed for reach in reaches if reach is not None}
        tasks = (*sender.tasks, *receiver.tasks)
        wanted = (
            frozenset((task.task, task.groups, task.verdict) for task in tasks),
            frozenset(told),
        )
        pair = (tried.sender, tried.receiver)
        if self._wanted.get(pair, (None, 0.0))[0] != wanted:
            self._wanted[pair] = (wanted, now)
        waits_for = ""
        if unready := [task for task in tasks if task.verdict != IN_SYNC]:
            first = unready[0]
            waits_for = f"{first.task} is {first.verdict}: {first.reason or 'not ready yet'}"
        elif len(told) > 1:
            waits_for = "Tasks of one app differ in whom they reach: a change is under way."
        applied = all(reach is None or reach.applied for reach in reaches)
        allowed = next(iter(told)) if len(told) == 1 else None
        if all(reach is None or reach.confirmed for reach in reaches):
            self._confirmed.setdefault(pair, now)
        else:
            self._confirmed.pop(pair, None)
        return Expected(
            allowed=allowed,
            since=self._wanted[pair][1],
            waits_for=waits_for,
            applied=applied,
            confirmed=self._confirmed.get(pair),
            asked=seen.asked,
            lag=FACTS_LAG,
        )

    def _note_parties(
        self, by_id: Mapping[str, Party], seen: Seen, now: float, clock: float
    ) -> None:
        first = seen.facts is not None and not self._had_facts
        for name, party in by_id.items():
            before = self._parties.get(name)
            if before is not None and not first:
                changes = _changes(before, party)
                if name not in self._with_tasks:
                    changes = chain(changes, _answers(before, party))
                for kind, text in changes:
                    self._timeline.add(kind=kind, text=text, subjects={name}, now=now, clock=clock)
        self._parties = dict(by_id)
        self._with_tasks |= {name for name, party in by_id.items() if party.tasks}
        self._had_facts = self._had_facts or seen.facts is not None

    def _note_alarms(
        self, cells: list[Cell], by_id: Mapping[str, Party], now: float, clock: float
    ) -> None:
        alarms = {
            (cell.tried.sender, cell.tried.receiver): cell.state
            for cell in cells
            if cell.state.alarming
        }
        for pair, state in alarms.items():
            if self._alarms.get(pair) is not state:
                sender, receiver = (by_id[each].name for each in pair)
                does = "reaches" if state is State.LEAK else "does not reach"
                should = "which it should not" if state is State.LEAK else "which it should"
                text = f"{sender} {does} {receiver}, {should}"
                self._timeline.add(kind=state.value, text=text, subjects=pair, now=now, clock=clock)
        self._alarms = alarms

    def _forget(self, pairs: set[Pair]) -> None:
        self._wanted = {pair: each for pair, each in self._wanted.items() if pair in pairs}
        self._differs = {pair: each for pair, each in self._differs.items() if pair in pairs}
        self._confirmed = {pair: each for pair, each in self._confirmed.items() if pair in pairs}


def _changes(before: Party, after: Party) -> Iterator[tuple[str, str]]:
    olds = {task.task: task for task in before.tasks}
    news = {task.task: task for task in after.tasks}
    before_groups = {task.groups for task in before.tasks}
    for name, task in news.items():
        groups = ", ".join(task.groups) or "no group"
        if name not in olds:
            was = {", ".join(each) or "no group" for each in before_groups - {task.groups}}
            told = f"{' and '.join(sorted(was))} → {groups}" if was else f"in {groups}"
            yield "started", f"{after.name} started on {task.host or 'a host'}, {told}"
        elif olds[name].groups != task.groups:
            yield "changed", f"{after.name} is in {groups} now"
        elif task.verdict in IN_TROUBLE and olds[name].verdict not in IN_TROUBLE:
            yield "trouble", f"{after.name} is {task.verdict}: {task.reason}"
    for name, task in olds.items():
        if name not in news:
            yield "ended", f"{after.name} ended on {task.host or 'a host'}"


def _answers(before: Party, after: Party) -> Iterator[tuple[str, str]]:
    """Of one that nobody tells of: what is measured is all that is known."""
    if before.asked and not after.tasks and before.answers != after.answers:
        yield (
            ("started", f"{after.name} answers")
            if after.answers
            else (
                "ended",
                f"{after.name} does not answer",
            )
        )


def _why_absent(absent: list[Party], facts: Facts) -> str:
    """Why there is nothing to be judged of a pair of which these do not run."""
    waiting = [f"{each.name} {told}." for each in absent if (told := facts.waiting.get(each.app))]
    silent = [each.name for each in absent if each.app not in facts.waiting]
    if silent:
        verb = "do" if len(silent) > 1 else "does"
        waiting.append(f"{' and '.join(silent)} {verb} not answer, and nobody tells of a task.")
    return " ".join(waiting)


def _unsettled(cells: list[Cell], by_id: Mapping[str, Party]) -> Iterator[frozenset[str]]:
    for cell in cells:
        pair = frozenset({cell.tried.sender, cell.tried.receiver})
        awaited = cell.state is State.NO_DATA and all(by_id[each].tasks for each in pair)
        if cell.state is State.SETTLING or cell.state.alarming or awaited:
            yield pair


def _problem(seen: Seen, now: float) -> str:
    """Why what should be is not known, or not newly; empty if it is."""
    if not seen.wants_facts:
        return ""
    if seen.facts is None:
        return f"What should be is not known: {seen.problem or 'it was not told yet'}"
    if now - seen.asked > OLD_FACTS:
        return f"What should be was last told a while ago: {seen.problem or 'no answer'}"
    return ""


def _groups(party: Party) -> tuple[str, ...]:
    return tuple(dict.fromkeys(group for task in party.tasks for group in task.groups))


def _party(party: Party) -> Shown:
    return {
        "id": party.id,
        "name": party.name,
        "app": party.app,
        "groups": list(_groups(party)),
        "answers": party.answers,
        "collector": party.place is None,
    }


def _nodes(party: Party, facts: Facts | None) -> Iterator[Shown]:
    """Each task is a node; a party without any is one nevertheless."""
    for index, task in enumerate(party.tasks):
        ring = "pending"
        if task.verdict == IN_SYNC:
            ring = "ok"
        elif task.verdict in IN_TROUBLE:
            ring = "failed"
        yield {
            "party": party.id,
            "task": task.task,
            "main": index == 0,
            "host": task.host,
            "address": task.address,
            "groups": list(task.groups),
            "ring": ring,
            "verdict": task.verdict,
            "reason": task.reason,
        }
    if not party.tasks:
        waits_for = facts.waiting.get(party.app, "") if facts is not None else ""
        ring = "measured" if party.answers else "waiting" if waits_for else "gone"
        yield {
            "party": party.id,
            "task": "",
            "main": True,
            "host": party.host if party.answers else "",
            "address": "",
            "groups": [],
            "ring": ring,
            "verdict": "",
            "reason": waits_for if ring == "waiting" else "",
        }


def _hosts(facts: Facts | None, parties: tuple[Party, ...]) -> list[Shown]:
    """Every host that something stands on, and how many tasks of others do too."""
    known = {host.name: host for host in facts.hosts} if facts is not None else {}
    empty = known if len(known) <= MOST_EMPTY_HOSTS else {}
    ours: dict[str, int] = {}
    for party in parties:
        for task in party.tasks:
            ours[task.host] = ours.get(task.host, 0) + 1
        if not party.tasks and party.answers and party.host:
            ours.setdefault(party.host, 0)
    return [
        {
            "name": name,
            "agent": known[name].agent if name in known else "",
            "others": max(0, known[name].tasks - count) if name in known else 0,
        }
        for name, count in sorted({**dict.fromkeys(empty, 0), **ours}.items())
    ]


def _cell(cell: Cell) -> Shown:
    words = {True: "allowed", False: "denied", None: "unknown"}
    measured = cell.tried.measured
    observed = {True: "reached", False: "not reached"}[measured.reached] if measured else "nothing"
    return {
        "from": cell.tried.sender,
        "to": cell.tried.receiver,
        "port": cell.tried.port,
        "expected": words[cell.allowed],
        "observed": observed,
        "state": cell.state.value,
        "note": cell.note,
    }
