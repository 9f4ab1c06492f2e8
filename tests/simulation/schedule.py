"""Draws a schedule from a seed, before anything runs."""

import random
from dataclasses import dataclass

from tests.simulation.actions import (
    Action,
    Adopt,
    Again,
    Approve,
    Attach,
    Blind,
    Cut,
    Darken,
    End,
    Erase,
    Fate,
    FindAgain,
    Forget,
    GiveUp,
    Kill,
    Lag,
    Lie,
    Meddle,
    NewLeader,
    Pause,
    PowerOff,
    Reboot,
    Regroup,
    Restore,
    Start,
    Terminate,
    Upgrade,
)
from tests.simulation.faults import Fault, Place
from tests.simulation.twins.marathon import LieKind

APPS = ("x", "y", "z")
PLUGGED = ("p", "q")
GROUPS = (("g",), ("k",), ("g", "k"))
#: Addresses of each block of 64 that others have; four must be left for the most tasks.
FOREIGN = (58, 60, 60)
#: How often a task that fails is started again, and after how many seconds.
AGAIN, AGAIN_AFTER = 4, 6.0
#: Seconds after which a host that is off is believed to be gone, and after those it is back.
GONE_AFTER, BACK_AFTER = 100.0, (110.0, 600.0)
#: How often a host that was given up is found again, and after how many seconds.
FOUND, FOUND_AFTER = 0.7, (0.5, 3.0, 8.0, 20.0, 100.0)
#: How old a backup is, and which one is as good as none; one of so many goes back.
BACKUPS, WIPED = (10.0, 60.0, 200.0), (float("inf"),)
GOES_BACK = 0.05
#: The share of these in which an operator does not wait.
ADOPTS = 0.3
#: Seconds after which nobody waits any more for hosts that are silent then.
ADOPTED_AFTER = 25.0
#: What a schedule may be drawn with, each a flag of the command line.
DRAWN_WITH = ("restores", "wipes", "adopts")
#: Seconds from one action to the next.
GAPS = (0.2, 0.2, 1.0, 1.0, 2.0, 5.0, 5.0, 10.0, 10.0, 20.0, 20.0, 40.0, 130.0)


@dataclass(frozen=True, slots=True)
class Size:
    """So many of a hundred schedules have so many actions.

    `wide` ones have more processes; one of so many `rests` at the end.
    """

    share: float
    fewest: int
    most: int
    wide: bool = False
    rests: int = 1


#: Most have few, so that many can be had; what needs many is found by the others.
MIX = (Size(82, 3, 5, rests=6), Size(16, 6, 9, rests=3), Size(2, 25, 25, wide=True))


@dataclass(frozen=True, slots=True)
class Timed:
    """An action, and how many seconds after the beginning of all it happens."""

    at: float
    action: Action


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that decides how a run goes.

    `ends` is when nothing goes wrong any more. `faults` None are those that the
    seed draws at single operations. `first_tasks` are those that each app has
    at the beginning: with few, a short list is soon believed. The more addresses
    of each block are `foreign`, the sooner one is given again. If it `rests`, it
    is also looked whether all stays quiet once it is as it should be. Without
    `chances` nothing goes wrong but what is named: `faults`, which may happen
    `from_start` on, and the one event of Marathon that nobody hears of.
    """

    seed: int
    actions: tuple[Timed, ...]
    ends: float
    faults: tuple[tuple[Place, Fault], ...] | None = None
    hosts: int = 2
    controllers: int = 2
    first_tasks: tuple[int, ...] = (2, 2, 2)
    foreign: int = 58
    rests: bool = True
    chances: bool = True
    from_start: bool = False
    forgotten_event: int = 0

    @property
    def attaches(self) -> bool:
        """Whether hosts have a plugin; those that have none start sooner."""
        return any(isinstance(each.action, Attach | Upgrade) for each in self.actions)


def draw_schedule(
    seed: int, *, restores: bool = False, wipes: bool = False, adopts: bool = False
) -> Schedule:
    """The schedule of a seed.

    With `restores` etcd is also set back once, and with `wipes` it is emptied;
    without either, in a few of a hundred. With `adopts` an operator does not wait
    then until all hosts have told what they hold; else in some of those few.
    """
    chance = random.Random(f"{seed} actions")
    (size,) = chance.choices(MIX, [each.share for each in MIX])
    length = chance.randint(size.fewest, size.most)
    hosts, controllers = (chance.choice((2, 3)) if size.wide else 2 for _ in range(2))
    names = [f"h{n}" for n in range(hosts)]
    processes = [f"c{n}" for n in range(controllers)] + [f"a{n}" for n in range(hosts)]
    now, actions = 0.0, list[Timed]()
    for _ in range(length):
        action = _draw(chance, names, processes)
        # What fails at once is started again and again.
        often = AGAIN if isinstance(action, Again) else 1
        actions.extend(Timed(now + number * AGAIN_AFTER, action) for number in range(often))
        now += (often - 1) * AGAIN_AFTER
        if isinstance(action, PowerOff):
            now += GONE_AFTER
            actions.append(Timed(now, Forget(action.host)))
        if isinstance(action, GiveUp) and chance.random() < FOUND:
            now += chance.choice(FOUND_AFTER)
            actions.append(Timed(now, FindAgain(action.host)))
        now += chance.choice(GAPS)
    ages = BACKUPS * restores + WIPED * wipes
    if not ages and chance.random() < GOES_BACK:
        ages, adopts = BACKUPS + WIPED, adopts or chance.random() < ADOPTS
    if ages:
        age = chance.choice(ages)
        # There is a backup of the time of each action, and none from before the first.
        late = [n for n, each in enumerate(actions) if age in WIPED or each.at >= age]
        where = chance.choice(late or [len(actions) - 1])
        when = actions[where].at if late else age
        now = max(now, when)
        actions[where] = Timed(when, Restore(age))
        if adopts:
            later = [each for each in actions[where + 1 :] if each.at < when + ADOPTED_AFTER]
            actions.insert(where + 1 + len(later), Timed(when + ADOPTED_AFTER, Adopt()))
            now = max(now, when + ADOPTED_AFTER)
    tasks = tuple(chance.choice((0, 1, 1, 2)) for _ in APPS)
    return Schedule(
        seed,
        tuple(actions),
        now,
        None,
        hosts,
        controllers,
        tasks,
        foreign=chance.choice(FOREIGN),
        rests=chance.randrange(size.rests) == 0,
    )


def _draw(chance: random.Random, hosts: list[str], processes: list[str]) -> Action:
    host, process, pick = chance.choice(hosts), chance.choice(processes), chance.random()
    app = chance.choice(APPS)
    fate = Fate(chance.choice((1, 1, 1, 2)), chance.choice((0, 1, 1, 2)), chance.random() < 0.5)
    table: tuple[tuple[float, Action], ...] = (
        (20, Start(app, pick)),
        (8, Attach(chance.choice(PLUGGED), pick, fate)),
        (14, End(pick)),
        (4, Again(pick)),
        (5, Regroup(app, chance.choice(GROUPS))),
        (7, GiveUp(host, 900.0)),
        (9, Kill(process, chance.choice((1.0, 10.0, 60.0)))),
        (5, Terminate(process, chance.choice((1.0, 10.0, 60.0)))),
        (2, PowerOff(host, chance.choice(BACK_AFTER))),
        (2, Approve()),
        (10, Pause(process, chance.choice((5.0, 12.0, 40.0, 300.0)))),
        (9, Cut(process, chance.choice((10.0, 40.0, 400.0)))),
        (3, Lag(process, chance.choice((5.0, 60.0)))),
        (2, Lie(LieKind.EMPTY, 200.0)),
        (2, Darken(host, 200.0)),
        (2, Lie(LieKind.FOREIGN, 200.0)),
        (5, Lie(chance.choice((LieKind.HALF, LieKind.STALE, LieKind.ONE_GONE)), 25.0)),
        (2, NewLeader()),
        (1, Upgrade()),
        (2, Reboot(host, keeps_state=chance.random() < 0.7)),
        (2, Meddle(host, pick)),
        (1, Erase(pick)),
        (1, Blind(host, 40.0)),
    )
    drawn = chance.random() * sum(weight for weight, _ in table)
    for weight, action in table:
        drawn -= weight
        if drawn < 0:
            return action
    return Start(app, pick)
