"""Groups: a tree over app ids, and the updates that replace parts of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from demo.marathon.core.state import App, State
from demo.marathon.definitions.apps import parse_app, resolve_id
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


def parse_group(raw: object, group_id: AppId, state: State, era: Era) -> GroupChange:
    """The changes that a group's new body means for what there is."""
    if not isinstance(raw, dict):
        raise invalid_json([{"path": "", "errors": ["error.expected.jsobject"]}])
    if raw.get("scaleBy") is not None:
        return _scale(raw["scaleBy"], group_id, state)
    change = GroupChange()
    _collect(raw, group_id, state, era, change)
    return change


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


def _collect(raw: Json, group_id: AppId, state: State, era: Era, change: GroupChange) -> None:
    dependencies = raw.get("dependencies")
    present = state.groups.get(group_id)
    change.groups[group_id] = (
        tuple(resolve_id(item, group_id) for item in dependencies)
        if dependencies is not None
        else (present.dependencies if present else ())
    )
    apps, groups = raw.get("apps"), raw.get("groups")
    if apps is not None:
        if not isinstance(apps, list):
            raise wrong_type("apps", "jsarray")
        named = set()
        for item in apps:
            definition = parse_app(item, group_id, era)
            app_id = definition["id"]
            if parent(app_id) != group_id:
                raise invalid_object("/id", f"identifier {app_id} is not child of {group_id}")
            if app_id in named:
                raise invalid_object("/apps", f"{app_id} is given twice")
            named.add(app_id)
            change.definitions[app_id] = definition
        change.removed_apps |= {
            app for app in state.apps if parent(app) == group_id and app not in named
        }
    if groups is not None:
        if not isinstance(groups, list) or not all(isinstance(item, dict) for item in groups):
            raise wrong_type("groups", "jsarray")
        named = {resolve_id(item.get("id"), group_id) for item in groups}
        for group in group_ids(state):
            if parent(group) == group_id != group and group not in named:
                removed = remove_group(group, state)
                change.removed_apps |= removed.removed_apps
                change.removed_groups |= removed.removed_groups
        for item in groups:
            child = resolve_id(item["id"], group_id)
            if parent(child) != group_id:
                raise invalid_object("/id", f"identifier {child} is not child of {group_id}")
            _collect(item, child, state, era, change)


def _scale(factor: object, group_id: AppId, state: State) -> GroupChange:
    if not isinstance(factor, int | float) or factor < 0:
        raise wrong_type("scaleBy", "jsnumber")
    if group_id not in group_ids(state):
        raise ApiError(404, {"message": f"Group '{group_id}' does not exist"})
    return GroupChange(
        definitions={
            app.id: {**app.definition, "instances": math.ceil(app.instances * factor)}
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
    reply: Json = {
        "id": group_id,
        "apps": [
            render(state.apps[item]) for item in sorted(state.apps) if parent(item) == group_id
        ],
        "groups": [_render(item, state, known, render, pods) for item in below],
        "dependencies": list(group.dependencies) if group else [],
        "version": group.version if group else "1970-01-01T00:00:00.000Z",
    }
    if pods:
        reply["pods"] = []
    return reply
