"""What happens to clusters every day, in which every position is then spoilt in turn."""

from tests.simulation.actions import (
    Action,
    Cut,
    End,
    Erase,
    FindAgain,
    GiveUp,
    Kill,
    Lie,
    Meddle,
    NewLeader,
    Pause,
    Reboot,
    Regroup,
    Restore,
    Start,
)
from tests.simulation.schedule import Schedule, Timed
from tests.simulation.twins.marathon import LieKind

#: Seconds that each goes on after its last action, unless it says otherwise.
GOES_ON = 10.0
ALL = ("c0", "c1", "a0", "a1")


def _scenario(
    *actions: Action, every: float = 2.0, goes_on: float = GOES_ON, from_start: bool = False
) -> Schedule:
    timed = tuple(Timed(number * every, action) for number, action in enumerate(actions))
    return Schedule(
        seed=1,
        actions=timed,
        ends=len(timed) * every + goes_on,
        faults=(),
        first_tasks=(1, 1, 1),
        rests=False,
        chances=False,
        from_start=from_start,
    )


SCENARIOS = {
    "first start": _scenario(from_start=True),
    "a task starts": _scenario(Start("x", 0.0)),
    "a task ends": _scenario(End(0.0)),
    "an app asks for other groups": _scenario(Regroup("x", ("k",)), Start("x", 0.9), End(0.0)),
    "an app is scaled up": _scenario(*(Start("x", each / 4) for each in range(4)), every=0.1),
    "an app is scaled down": _scenario(End(0.0), End(0.0), every=0.1),
    "a task moves": _scenario(Start("x", 0.9), End(0.0)),
    "all tasks end": _scenario(End(0.0), End(0.0), End(0.0), every=0.1),
    "a controller is killed": _scenario(
        Kill("c0", 30.0), Start("x", 0.9), Kill("c1", 1.0), goes_on=25.0
    ),
    "a controller is stopped": _scenario(
        Pause("c0", 25.0), Start("x", 0.9), Pause("c1", 25.0), goes_on=35.0
    ),
    "an agent is killed": _scenario(Kill("a0", 1.0), Start("x", 0.0), End(0.0)),
    "a host reboots": _scenario(Reboot("h0", keeps_state=True), Start("x", 0.0)),
    "a host is made anew": _scenario(Reboot("h0", keeps_state=False), Start("x", 0.0)),
    "a host is cut off and given up": _scenario(GiveUp("h0", 20.0), Start("x", 0.9), goes_on=30.0),
    # What is sent and not answered is given up a second later than that.
    "what a host runs is found again": _scenario(
        GiveUp("h0", 3.0), FindAgain("h0"), every=4.0, goes_on=70.0
    ),
    "a host comes back": _scenario(Cut("a0", 8.0), Start("x", 0.0), End(0.0)),
    "etcd is away": _scenario(*(Cut(each, 12.0) for each in ALL), Start("x", 0.0), goes_on=25.0),
    "another Marathon leads": _scenario(Start("x", 0.0), NewLeader(), End(0.0)),
    "Marathon lists nothing": _scenario(
        Lie(LieKind.EMPTY, 40.0), NewLeader(), Start("x", 0.0), goes_on=50.0
    ),
    "a foreign Marathon answers": _scenario(Lie(LieKind.FOREIGN, 40.0), NewLeader(), goes_on=50.0),
    "an operator erases a profile": _scenario(Erase(0.5), Start("x", 0.9)),
    "a link is taken away": _scenario(Meddle("h0", 0.0), Start("x", 0.0)),
    "etcd is set back": _scenario(Start("x", 0.0), Start("x", 0.9), Restore(3.0)),
    "etcd is emptied": _scenario(Start("x", 0.0), Restore(float("inf"))),
}
