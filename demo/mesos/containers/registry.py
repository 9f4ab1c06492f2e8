"""Which containers an agent has, in memory and on disk."""

from __future__ import annotations

from collections.abc import Collection

from demo.mesos.containers.container import Container
from demo.mesos.records import TaskId, TaskRecord
from demo.mesos.store import Store

ENDED_KEPT = 500


class Registry:
    """The containers of one agent, and the last ones that have ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._containers: dict[str, Container] = {}
        self._by_task: dict[TaskId, str] = {}
        self._ended: dict[TaskId, TaskRecord] = {}

    def records(self) -> tuple[TaskRecord, ...]:
        """The tasks that Marathon may know of."""
        present = (
            member.record
            for container in self._containers.values()
            if container.announced
            for member in container.members
        )
        return (*present, *self._ended.values())

    def all(self) -> tuple[Container, ...]:
        """Every container that has not ended."""
        return tuple(self._containers.values())

    def get(self, container_id: str) -> Container | None:
        """One container that has not ended."""
        return self._containers.get(container_id)

    def of_task(self, task_id: TaskId) -> Container | None:
        """The container of a task that has not ended with all of its group."""
        return self._containers.get(self._by_task.get(task_id, ""))

    def knows_any(self, task_ids: Collection[TaskId]) -> bool:
        """Whether one of the tasks was started before, ended or not."""
        return any(task_id in self._by_task or task_id in self._ended for task_id in task_ids)

    def put(self, container: Container) -> None:
        """Take over a new or changed container, in memory only."""
        self._containers[container.container_id] = container
        self._by_task |= dict.fromkeys(container.task_ids, container.container_id)

    def note(self, container: Container) -> None:
        """Remember on disk a container that is about to be started."""
        self._store.save(container)

    def save(self, container: Container) -> None:
        """Take over a changed container, on disk too."""
        self._store.save(container)
        self.put(container)

    def drop(self, container: Container) -> None:
        """Forget a container that nobody was told of."""
        self._remove(container)
        self._store.forget(container.container_id)

    def close(self, container: Container) -> None:
        """It has ended; on disk it stays until what attached it is undone."""
        self._remove(container)
        self._ended |= {member.task_id: member.record for member in container.members}
        while len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        if container.isolator:
            self._store.save(container)
        else:
            self._store.forget(container.container_id)

    def undone(self, container_id: str) -> None:
        """Nothing of an ended container is left."""
        self._store.forget(container_id)

    def load(self) -> list[Container]:
        """What earlier runs left on disk."""
        return self._store.load()

    def sandbox(self, container: Container, task_id: TaskId | None = None) -> str:
        """Where a task lives; that of a lone one is its executor's."""
        part = None if container.alone else task_id
        executor_id = container.group.executor_id
        return str(self._store.sandbox(container.container_id, executor_id, part))

    def _remove(self, container: Container) -> None:
        self._containers.pop(container.container_id, None)
        for task_id in container.task_ids:
            self._by_task.pop(task_id, None)
