"""From what an agent says of an instance's tasks to the instance; pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from demo.marathon.core.state import Part, Task
from demo.marathon.era import Era
from demo.mesos.records import TaskId, TaskRecord, TaskState


def taken_over(
    task: Task, records: Mapping[TaskId, TaskRecord], agent_id: str, era: Era
) -> tuple[Task, str]:
    """The instance as it is now, and what was said about it.

    Marathon takes addresses from updates that it deems a change: of the state,
    and from 1.4 on of the health as well. An address that Mesos learns later
    waits for the next of those.
    """
    if task.parts:
        return _with_parts(task, records, agent_id)
    record = records[task.id]
    changed = record.state is not task.state
    if era.has_instances:
        changed = changed or record.healthy is not task.healthy
    updated = msgspec.structs.replace(
        task, state=record.state, slave_id=agent_id, healthy=record.healthy
    )
    if changed and not record.state.terminal:
        updated = msgspec.structs.replace(
            updated, addresses=record.addresses, networks=record.networks
        )
    return updated, record.message


def _with_parts(
    task: Task, records: Mapping[TaskId, TaskRecord], agent_id: str
) -> tuple[Task, str]:
    parts = tuple(_part(part, records.get(part.id)) for part in task.parts)
    state = _state_of(parts)
    first = records.get(task.parts[0].id)
    updated = msgspec.structs.replace(task, parts=parts, state=state, slave_id=agent_id)
    if first is not None and not first.state.terminal and first.addresses:
        # One executor, one attachment: its addresses are those of every part.
        updated = msgspec.structs.replace(
            updated, addresses=first.addresses, networks=first.networks
        )
    return updated, "; ".join(dict.fromkeys(part.message for part in parts if part.message))


def _part(part: Part, record: TaskRecord | None) -> Part:
    if record is None:
        return part
    return msgspec.structs.replace(
        part, state=record.state, healthy=record.healthy, message=record.message
    )


def _state_of(parts: tuple[Part, ...]) -> TaskState:
    """Terminal once all parts are, and then as the worst of them."""
    states = {part.state for part in parts}
    if not all(state.terminal for state in states):
        return TaskState.RUNNING if states == {TaskState.RUNNING} else TaskState.STAGING
    for state in (TaskState.FAILED, TaskState.LOST, TaskState.KILLED):
        if state in states:
            return state
    return TaskState.FINISHED
