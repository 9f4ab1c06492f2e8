"""Groups: a tree over app ids, and the updates that replace parts of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from demo.marathon.core.state import App, State
from demo.marathon.definitions.apps import parse_app, resolve_id
from demo.marathon.definitions.pods import parse_pod, with_instances
from demo.marathon.era import Era
from demo.marathon.errors import ApiError, invalid_json, invalid_object, wrong_type
from demo.mesos.records import AppId, Json

ROOT = AppId("/")


@dataclass(slots=True)
class GroupChange:
    """What a group update asks for: whole definitions, removals, groups."""

    definitions: dict[AppId, Json] = field(default_factory=dict)
    removed_apps: set[AppId] = field(default_factory=set)
    removed_groups: set[AppId] = field(default_factory=set)
    groups: dict[AppId, tuple[str, ...]] = field(default_factory=dict)


def inside(item: str, group: str) -> bool:
    """True for everything below the group, however deep, but not the group itself."""
    return item != group and (group == "/" or item.startswith(group + "/"))


def parent(item: str) -> AppId:
    """The group that directly holds an app or a group."""
    return AppId(item.rpartition("/")[0] or "/")


def group_ids(state: State) -> set[AppId]:
    """The root, every group that was made and every one that an app's id implies."""
    ids = {ROOT}
    for item in (*state.apps, *(group for group in state.groups if group != ROOT)):
        above = item if item in state.groups else parent(item)
        while above != ROOT:
            ids.add(AppId(above))
            above = parent(above)
    return ids


def parse_group(
    raw: object, group_id: AppId, state: State, era: Era, default_network: str | None = None
) -> GroupChange:
    """The changes that a group's new body means for what there is."""
    if not isinstance(raw, dict):
        raise invalid_json([{"path": "", "errors": ["error.expected.jsobject"]}])
    if raw.get("scaleBy") is not None:
        return _scale(raw["scaleBy"], group_id, state)
    return _Body(state, era, default_network).read(raw, group_id)


def remove_group(group_id: AppId, state: State) -> GroupChange:
    """Everything below the group goes, and the group too unless it is the root."""
    return GroupChange(
        removed_apps={app for app in state.apps if inside(app, group_id)},
        removed_groups={
            group
            for group in group_ids(state)
            if inside(group, group_id) or group == group_id != ROOT
        },
    )


@dataclass(slots=True)
class _Body:
    """Reads a group's body against what there is."""

    state: State
    era: Era
    default_network: str | None
    change: GroupChange = field(default_factory=GroupChange)

    def read(self, raw: Json, group_id: AppId) -> GroupChange:
        """Everything that the body and those nested in it mean."""
        dependencies, present = raw.get("dependencies"), self.state.groups.get(group_id)
        self.change.groups[group_id] = (
            tuple(resolve_id(item, group_id) for item in dependencies)
            if dependencies is not None
            else (present.dependencies if present else ())
        )
        if raw.get("apps") is not None:
            self._replace(raw["apps"], "apps", group_id)
        if raw.get("pods") is not None and self.era.has_instances:
            self._replace(raw["pods"], "pods", group_id)
        if raw.get("groups") is not None:
            self._groups(raw["groups"], group_id)
        return self.change

    def _replace(self, items: object, kind: str, group_id: AppId) -> None:
        if not isinstance(items, list):
            raise wrong_type(kind, "jsarray")
        named = set()
        for item in items:
            definition = self._definition(item, kind, group_id)
            app_id = definition["id"]
            if parent(app_id) != group_id:
                raise invalid_object("/id", f"identifier {app_id} is not child of {group_id}")
            if app_id in named:
                raise invalid_object(f"/{kind}", f"{app_id} is given twice")
            named.add(app_id)
            self.change.definitions[app_id] = definition
        self.change.removed_apps |= {
            app.id
            for app in self.state.apps.values()
            if parent(app.id) == group_id and app.id not in named and app.is_pod == (kind == "pods")
        }

    def _definition(self, item: object, kind: str, group_id: AppId) -> Json:
        if kind == "apps":
            return parse_app(item, group_id, self.era, self.default_network)
        if not isinstance(item, dict):
            raise wrong_type("pods", "jsarray")
        return parse_pod(item, resolve_id(item.get("id"), group_id), self.default_network)

    def _groups(self, items: object, group_id: AppId) -> None:
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise wrong_type("groups", "jsarray")
        named = {resolve_id(item.get("id"), group_id) for item in items}
        for group in group_ids(self.state):
            if parent(group) == group_id != group and group not in named:
                removed = remove_group(group, self.state)
                self.change.removed_apps |= removed.removed_apps
                self.change.removed_groups |= removed.removed_groups
        for item in items:
            child = resolve_id(item["id"], group_id)
            if parent(child) != group_id:
                raise invalid_object("/id", f"identifier {child} is not child of {group_id}")
            self.read(item, child)


def _scale(factor: object, group_id: AppId, state: State) -> GroupChange:
    if not isinstance(factor, int | float) or factor < 0:
        raise wrong_type("scaleBy", "jsnumber")
    if group_id not in group_ids(state):
        raise ApiError(404, {"message": f"Group '{group_id}' does not exist"})
    return GroupChange(
        definitions={
            app.id: with_instances(app.definition, math.ceil(app.instances * factor))
            for app in state.apps.values()
            if inside(app.id, group_id)
        }
    )


def render_group(group_id: AppId, state: State, render: Callable[[App], Json], pods: bool) -> Json:
    """A group with everything below it."""
    return _render(group_id, state, group_ids(state), render, pods)


def _render(
    group_id: AppId,
    state: State,
    known: Collection[AppId],
    render: Callable[[App], Json],
    pods: bool,
) -> Json:
    group = state.groups.get(group_id)
    below = sorted(item for item in known if item != ROOT and parent(item) == group_id)
    directly = [state.apps[item] for item in sorted(state.apps) if parent(item) == group_id]
    reply: Json = {
        "id": group_id,
        "apps": [render(app) for app in directly if not app.is_pod],
        "groups": [_render(item, state, known, render, pods) for item in below],
        "dependencies": list(group.dependencies) if group else [],
        "version": group.version if group else "1970-01-01T00:00:00.000Z",
    }
    if pods:
        reply["pods"] = [render(app) for app in directly if app.is_pod]
    return reply
