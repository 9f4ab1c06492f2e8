"""Mutations become deployments: accepted, locked, done step by step."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import msgspec

from demo.marathon.core.groups import GroupChange
from demo.marathon.core.health import Health
from demo.marathon.core.plan import is_settled, plan_steps
from demo.marathon.core.state import (
    VERSIONS_KEPT,
    Action,
    ActionKind,
    App,
    Deployment,
    Group,
    State,
    later_timestamp,
    timestamp,
)
from demo.marathon.definitions.apps import same_config
from demo.marathon.definitions.commands import CommandRule
from demo.marathon.definitions.pods import check_commands_of, commands_of, is_pod
from demo.marathon.definitions.ports import with_service_ports
from demo.marathon.era import Era
from demo.marathon.errors import locked
from demo.marathon.replies import events
from demo.marathon.replies.system import render_root
from demo.mesos.records import AppId, Json


@dataclass(frozen=True, slots=True)
class Change:
    """A mutation that was asked for; `announce` makes the event of a single app's."""

    group_id: AppId
    asked: GroupChange
    force: bool = False
    restart: frozenset[AppId] = frozenset()
    announce: Callable[[str, App], events.Event] | None = None


class Deployments:
    """The apps, their versions and groups, and what is under way with them."""

    def __init__(
        self,
        state: State,
        era: Era,
        rule: CommandRule,
        publish: Callable[[events.Event], None],
        look_at: Callable[[Collection[AppId]], None],
        health: Health,
    ) -> None:
        self._state = state
        self._era = era
        self._rule = rule
        self._publish = publish
        self._look_at = look_at
        self._health = health

    def begin(self, change: Change, now: float) -> Json:
        """Accept a mutation and begin to deploy it; raises ApiError instead."""
        state, asked = self._state, change.asked
        definitions = {
            app_id: self._with_service_ports(app_id, definition)
            for app_id, definition in asked.definitions.items()
        }
        for definition in definitions.values():
            for command in (*commands_of(definition), *check_commands_of(definition)):
                self._rule(command)
        steps = plan_steps(state.apps, definitions, asked.removed_apps, change.restart)
        self._unlock(frozenset(a.app_id for step in steps for a in step), change.force, now)
        original, checked = render_root(state, self._era), self._checked()
        version = state.last_timestamp = later_timestamp(now, state.last_timestamp)
        self._store(change, definitions, version)
        deployment = Deployment(
            id=str(uuid.uuid4()),
            version=version,
            steps=steps,
            original=original,
            target=render_root(state, self._era),
        )
        when = timestamp(now)
        if change.announce is not None:
            for app_id in definitions:
                self._publish(change.announce(when, state.apps[app_id]))
        self._publish(events.group_change_success(when, change.group_id, version))
        if steps:
            state.deployments[deployment.id] = deployment
            self._look_at(deployment.apps)
            self._publish(events.deployment_info(when, deployment, self._era))
        else:
            self._publish(events.deployment_success(when, deployment, self._era))
        self._tell_checks(checked, when)
        return {"version": version, "deploymentId": deployment.id}

    def cancel(self, deployment_id: str, now: float) -> None:
        """Forget a deployment; what it changed stays changed."""
        deployment = self._state.deployments.pop(deployment_id)
        self._look_at(deployment.apps)
        self._publish(events.deployment_failed(timestamp(now), deployment, self._era))

    def advance(self, looked_at: Collection[AppId], now: float) -> None:
        """Go one step further wherever the current one is done."""
        for deployment in list(self._state.deployments.values()):
            if not deployment.apps.isdisjoint(looked_at):
                self._advance(deployment, now)

    def _advance(self, deployment: Deployment, now: float) -> None:
        step = deployment.steps[deployment.current]
        if not all(self._is_done(action) for action in step):
            return
        when = timestamp(now)
        for action in step:
            if action.kind is ActionKind.STOP and not action.pod:
                self._publish(events.app_terminated(when, action.app_id))
        self._publish(events.deployment_step_success(when, deployment, self._era))
        if deployment.current + 1 == len(deployment.steps):
            del self._state.deployments[deployment.id]
            self._publish(events.deployment_success(when, deployment, self._era))
            return
        following = msgspec.structs.replace(deployment, current=deployment.current + 1)
        self._state.deployments[deployment.id] = following
        self._look_at(deployment.apps)
        self._publish(events.deployment_info(when, following, self._era))

    def _is_done(self, action: Action) -> bool:
        app = self._state.apps.get(action.app_id)
        tasks = self._state.tasks.get(action.app_id, {}).values()
        match action.kind:
            case ActionKind.START:
                return True
            case ActionKind.STOP:
                return not tasks
            case ActionKind.SCALE | ActionKind.RESTART:
                return app is None or is_settled(app, tasks, self._health.is_ready)

    def _checked(self) -> dict[AppId, list[Json]]:
        apps = self._state.apps.values()
        return {app.id: app.definition.get("healthChecks") or [] for app in apps}

    def _tell_checks(self, before: dict[AppId, list[Json]], when: str) -> None:
        after = self._checked()
        for app_id in sorted({*before, *after}):
            old, new = before.get(app_id, []), after.get(app_id, [])
            if old == new:
                continue
            for _ in old:
                self._publish(events.remove_health_check(when, app_id))
            for check in new:
                version = self._state.apps[app_id].version
                self._publish(events.add_health_check(when, app_id, version, check))

    def _with_service_ports(self, app_id: AppId, definition: Json) -> Json:
        if is_pod(definition):
            return definition
        present = self._state.apps.get(app_id)
        held = None if present is None else present.definition
        return with_service_ports(definition, held, self._service_ports())

    def _service_ports(self) -> Iterator[int]:
        while True:
            yield self._state.next_service_port
            self._state.next_service_port += 1

    def _unlock(self, apps: frozenset[AppId], force: bool, now: float) -> None:
        busy = [d.id for d in self._state.deployments.values() if not d.apps.isdisjoint(apps)]
        if busy and not force:
            raise locked(busy)
        for deployment_id in busy:
            self.cancel(deployment_id, now)

    def _store(self, change: Change, definitions: dict[AppId, Json], version: str) -> None:
        state, asked = self._state, change.asked
        for app_id in asked.removed_apps:
            del state.apps[app_id]
            state.versions.pop(app_id, None)
        for group_id in asked.removed_groups:
            state.groups.pop(group_id, None)
        for group_id, dependencies in asked.groups.items():
            state.groups[group_id] = Group(version, dependencies)
        for app_id, definition in definitions.items():
            present = state.apps.get(app_id)
            changed_at = version
            if present is not None and app_id not in change.restart:
                if present.definition == definition:
                    continue
                if same_config(present.definition, definition):
                    changed_at = present.last_config_change_at
            app = App(
                id=app_id,
                definition=definition,
                version=version,
                last_scaling_at=version,
                last_config_change_at=changed_at,
            )
            state.apps[app_id] = app
            versions = state.versions.setdefault(app_id, {})
            versions[version] = app
            while len(versions) > VERSIONS_KEPT:
                del versions[next(iter(versions))]
