"""The names that may become part of an etcd path, each with its own type: pure."""

import re

from calico.errors import InvalidName
from calico.model import ContainerId, HandleId, HostName, ProfileId, TaskId

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_TASK_ID = re.compile(r"[a-zA-Z0-9_.$-]{1,200}")
#: How the names of the profiles begin that are made for a host and for an app.
HOST_PREFIX = "default_"
APP_PREFIX = "app-"


def check_form(text: str, kind: str, form: re.Pattern[str], allowed: str) -> str:
    """A text of a form that `allowed` describes, and that etcd neither hides nor takes for a step.

    Raises InvalidName.
    """
    if not form.fullmatch(text):
        raise InvalidName(f"{kind} {text!r} must be {allowed}")
    if text.startswith("_"):
        raise InvalidName(f"{kind} {text!r} must not begin with '_', which etcd hides")
    if text in (".", ".."):
        raise InvalidName(f"{kind} {text!r} must not be a step in a path")
    return text


def check_name(text: str, kind: str) -> str:
    """One segment that anybody may choose; raises InvalidName."""
    return check_form(text, kind, _NAME, "1 to 128 of the characters a-z A-Z 0-9 _ . -")


def check_id(text: str, kind: str) -> str:
    """One segment that Marathon or Mesos chose, which may be longer; raises InvalidName."""
    return check_form(text, kind, _TASK_ID, "1 to 200 of the characters a-z A-Z 0-9 _ . $ -")


def check_group(text: str) -> ProfileId:
    """A group of an app, whose profile has the same name; raises InvalidName."""
    name = check_name(text, "group")
    for prefix in (HOST_PREFIX, APP_PREFIX):
        if name.startswith(prefix):
            raise InvalidName(f"group {text!r} must not begin with {prefix!r}, which is reserved")
    return ProfileId(name)


def check_profile(text: str) -> ProfileId:
    """A profile of any kind; raises InvalidName."""
    return ProfileId(check_name(text, "profile"))


def check_host(text: str) -> HostName:
    """A host as Marathon and the agents call it; raises InvalidName."""
    return HostName(check_name(text, "host"))


def check_container(text: str) -> ContainerId:
    """A container as whoever attaches it calls it; raises InvalidName."""
    return ContainerId(check_name(text, "container id"))


def check_task_id(text: str) -> TaskId:
    """A task as Mesos calls it; raises InvalidName."""
    return TaskId(check_id(text, "task id"))


def check_handle(text: str) -> HandleId:
    """An owner of addresses; raises InvalidName."""
    return HandleId(check_id(text, "handle"))
