"""Draws what will happen, and when, from a seed: pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.chaos.actions import (
    Action,
    Break,
    Cut,
    EndTask,
    Kill,
    Lasting,
    Pause,
    Split,
    Wish,
    count,
    describe,
)
from tests.faults.door import Fault

HOSTS = ("host-1", "host-2", "host-3")
MASTER = "master"
ETCD = ("etcd", "etcd-2", "etcd-3")
CONTROLLERS = ("controller", "controller-2")
AGENTS = tuple(f"agent-{host}" for host in HOSTS)
OTHERS = ("marathon", "dns", *(f"mesos-{host}" for host in HOSTS))
DOORS = (*ETCD, "marathon")
APPS = ("a", "b", "c", "d", "e", "f")
GROUPS = ("red", "green", "blue")
#: So many tasks has an app at first: with all of them each host has about ten.
INSTANCES = 5
#: So many of the first apps have their tasks attached by a plugin.
ATTACHED = 3
#: So many faults last at the same time, at most.
AT_ONCE = 3
#: etcd is without a majority for no longer than this.
NO_QUORUM_SECONDS = 6.0
SHORTEST, LONGEST = 0.2, 12.0
#: A lease ends meanwhile.
LONG_PAUSE = 22.0
#: The members that still agree have long gone on by then.
LONGEST_SPLIT = 30.0
#: Nothing begins in the last seconds, and nothing lasts until their end.
TAIL = 3.0
BETWEEN = (0.5, 3.0)
#: kill, pause, cut, break, end of a task, wish, split.
WEIGHTS = (5, 4, 3, 5, 1, 5, 3)
#: What begins the name of a split among what is busy.
PEERS = "peers of "


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    seconds: float
    begin: tuple[Wish, ...]
    actions: tuple[Action, ...]

    def lines(self) -> list[str]:
        """For a person: it is printed before the start."""
        head = f"seed {self.seed}: {len(self.actions)} actions in {self.seconds:.0f} s"
        return [head, count(self.actions), *map(describe, (*self.begin, *self.actions))]


@dataclass
class _Drawing:
    chance: random.Random
    wishes: dict[str, Wish]
    until: dict[str, float] = field(default_factory=dict)

    def busy(self, now: float) -> set[str]:
        return {target for target, end in self.until.items() if end > now}


def draw_plan(seed: int, seconds: float) -> Plan:
    """The run of a seed: always the same."""
    chance = random.Random(seed)
    attached = chance.sample(APPS, ATTACHED)
    begin = tuple(
        Wish(0.0, app, INSTANCES, _groups(chance), attached=app in attached) for app in APPS
    )
    drawing = _Drawing(chance, {wish.app: wish for wish in begin})
    actions: list[Action] = []
    now = 1.0
    while now < seconds - TAIL:
        action = _draw(drawing, round(now, 2), seconds - TAIL)
        if action is not None:
            actions.append(action)
        now += chance.uniform(*BETWEEN)
    return Plan(seed, seconds, begin, tuple(actions))


def _draw(drawing: _Drawing, now: float, end: float) -> Action | None:
    chance = drawing.chance
    (kind,) = chance.choices(range(len(WEIGHTS)), WEIGHTS)
    if kind == 0:
        return _kill(drawing, now)
    if kind == 4:
        return EndTask(now, chance.choice(APPS))
    if kind == 5:
        return _wish(drawing, now)
    action = _lasting(drawing, kind, now, end)
    target = _target(action)
    if action.seconds < SHORTEST:
        return None
    if len(drawing.busy(now)) >= AT_ONCE or target in drawing.busy(now):
        return None
    if _is_of_member(target) and (away := _members_away(drawing, now)):
        # It is the second one: without it there may be no majority.
        if len(away) > 1:
            return None
        action = replace(action, seconds=min(action.seconds, NO_QUORUM_SECONDS))
    drawing.until[target] = now + action.seconds
    return action


def _members_away(drawing: _Drawing, now: float) -> list[str]:
    return [target for target in drawing.busy(now) if _is_of_member(target)]


def _is_of_member(target: str) -> bool:
    return target in ETCD or target.startswith(PEERS)


def _kill(drawing: _Drawing, now: float) -> Kill | None:
    process = drawing.chance.choice((*ETCD, *CONTROLLERS, *AGENTS, *OTHERS))
    if process in drawing.busy(now):
        return None
    if process in ETCD and _members_away(drawing, now):
        return None
    return Kill(now, process)


def _lasting(drawing: _Drawing, kind: int, now: float, end: float) -> Lasting:
    chance = drawing.chance
    seconds = round(min(chance.uniform(0.5, LONGEST), end - now), 2)
    match kind:
        case 1:
            process = chance.choice((*ETCD, *CONTROLLERS, *AGENTS, *OTHERS))
            if process in CONTROLLERS and chance.random() < 0.4:
                seconds = round(min(LONG_PAUSE, end - now), 2)
            return Pause(now, process, seconds)
        case 2:
            host = chance.choice(HOSTS)
            if chance.random() < 0.5:
                everybody = (MASTER, *(other for other in HOSTS if other != host))
                return Cut(now, host, everybody, seconds)
            if chance.random() < 0.3:
                # The host may be that of the controller that leads.
                seconds = round(min(LONG_PAUSE, end - now), 2)
            return Cut(now, host, (MASTER,), seconds)
        case 6:
            return _split(chance, now, end)
        case _:
            fault = chance.choice([fault for fault in Fault if fault is not Fault.NONE])
            return Break(
                now, chance.choice(DOORS), fault, seconds, round(chance.uniform(0.05, 2.0), 2)
            )


def _split(chance: random.Random, now: float, end: float) -> Split:
    member = chance.choice(ETCD)
    others = [each for each in ETCD if each != member]
    leading = chance.random() < 0.4
    if not leading and chance.random() < 0.3:
        # The third one hears both: the two may lead in turn.
        others = [chance.choice(others)]
    fault = chance.choice((Fault.CUT, Fault.BLACK_HOLE))
    seconds = round(min(chance.uniform(2.0, LONGEST_SPLIT), end - now), 2)
    return Split(now, member, tuple(others), fault, seconds, leading)


def _target(action: Lasting) -> str:
    match action:
        case Pause(_, process, _):
            return process
        case Cut(_, host, _, _):
            return host
        case Break(_, door, _, _, _):
            return f"door of {door}"
        case Split(_, member, _, _, _, leading):
            return f"{PEERS}{'the leader' if leading else member}"


def _wish(drawing: _Drawing, now: float) -> Wish:
    chance = drawing.chance
    app = chance.choice(APPS)
    before = drawing.wishes[app]
    if before.instances == 0:
        number, attached = chance.randint(2, INSTANCES + 1), chance.random() < 0.5
        wish = Wish(now, app, number, _groups(chance), attached)
    else:
        match chance.choices(("regroup", "scale", "delete"), (5, 4, 2))[0]:
            case "regroup":
                wish = replace(before, at=now, groups=_groups(chance))
            case "scale":
                wish = replace(before, at=now, instances=chance.randint(1, INSTANCES + 2))
            case _:
                wish = Wish(now, app, 0)
    drawing.wishes[app] = wish
    return wish


def _groups(chance: random.Random) -> tuple[str, ...]:
    drawn: Sequence[str] = chance.sample(GROUPS, chance.choice((0, 1, 1, 1, 2)))
    public = ("public",) if chance.random() < 0.1 else ()
    return (*sorted(drawn), *public)
