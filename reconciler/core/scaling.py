"""How many instances the agents' app should have: one for each Mesos agent; pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds for which fewer agents must be seen, without a gap, to be believed.
#: Mesos itself waits 75 s for an agent, and a new master for all of them.
FEWER_AFTER = 300.0
#: Seconds between two changes.
CHANGE_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class AgentsApp:
    """The app as Marathon has it."""

    instances: int
    deploying: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed; `agents` is None if nobody could tell how many there are."""

    agents: int | None
    app: AgentsApp | None


@dataclass(frozen=True, slots=True)
class Fewer:
    """Since when fewer agents than instances are seen, and the most of them meanwhile."""

    since: float
    most: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept from one look to the next; times are monotonic seconds."""

    fewer: Fewer | None = None
    changed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing is to be done, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The app should have so many instances."""

    instances: int


Decision = Keep | Scale


def decide(seen: Seen, memory: Memory, now: float) -> tuple[Decision, Memory]:
    """What to do after this look, and what to remember of it.

    More agents are believed at once, fewer only after a time in which no look
    showed as many as there are instances; none at all are never believed.
    """
    if seen.app is None:
        return Keep("there is no such app"), Memory(changed_at=memory.changed_at)
    if not seen.agents:
        # What went before is no longer without a gap.
        return Keep("the number of Mesos agents is not known"), Memory(changed_at=memory.changed_at)
    memory = Memory(_fewer(seen.agents, seen.app.instances, memory.fewer, now), memory.changed_at)
    decision = _decide(seen.agents, seen.app, memory, now)
    if isinstance(decision, Scale):
        memory = Memory(changed_at=now)
    return decision, memory


def _fewer(agents: int, instances: int, before: Fewer | None, now: float) -> Fewer | None:
    if agents >= instances:
        return None
    if before is None:
        return Fewer(now, agents)
    return Fewer(before.since, max(before.most, agents))


def _decide(agents: int, app: AgentsApp, memory: Memory, now: float) -> Decision:
    if agents == app.instances:
        return Keep("as many instances as Mesos agents")
    if app.instances == 0:
        return Keep("the app is suspended")
    if app.deploying:
        return Keep("the app is being deployed")
    if memory.changed_at is not None and now - memory.changed_at < CHANGE_EVERY:
        return Keep("it was scaled just now")
    if memory.fewer is None:
        return Scale(agents)
    if now - memory.fewer.since < FEWER_AFTER:
        return Keep("fewer Mesos agents, not for long")
    # Never below any number that was seen meanwhile.
    return Scale(memory.fewer.most)
