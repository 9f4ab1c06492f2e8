"""What a message of Marathon's stream is about."""

from collections.abc import Hashable
from typing import assert_never

from marathon_client.events import (
    AppChanged,
    AppTerminated,
    EverythingChanged,
    Ignored,
    Subscribed,
    TaskStatus,
    Unreadable,
)
from marathon_client.stream import Connected, Disconnected
from reconciler.controller.scheduling.intake import Message
from reconciler.runtime.watchfeed import Changed, Loaded, Unreachable


def subject(message: Message) -> Hashable | None:
    """What a later message about the same makes needless; None where each one counts.

    Events are hints to look again: of two about one task, the later says as much.
    """
    match message:
        case TaskStatus(app_id, task_id):
            return app_id, task_id
        case AppChanged(app_ids):
            return app_ids
        case AppTerminated(app_id):
            return app_id
        case EverythingChanged() | Unreadable() | Subscribed() | Ignored():
            return ()
        case Connected() | Disconnected() | Loaded() | Changed() | Unreachable():
            return None
        case _:
            assert_never(message)
