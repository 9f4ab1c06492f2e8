"""What a newer Marathon makes of the state that an older one left."""

from __future__ import annotations

import msgspec

from demo.marathon.core.state import App, State
from demo.marathon.definitions.apps import parse_app
from demo.marathon.era import DEFAULT_ERA, Era, parse_era
from demo.marathon.errors import ApiError


class MigrationError(Exception):
    """The state cannot be taken over; the message says what to do about it."""


def migrate(state: State, era: Era, default_network: str | None) -> None:
    """Bring every stored definition, old versions too, into the form of this era.

    From 1.4 to 1.5 that erases the groups of every app, as Marathon's own
    migration does. Versions and tasks stay as they are.
    """
    before = parse_era(state.era) if state.era else DEFAULT_ERA
    present = (era.major, era.minor)
    if state.apps and (before.major, before.minor) > present:
        raise MigrationError(
            f"the state was written by Marathon {state.era}, and {era} cannot read it: "
            "start the newer one, or without the state"
        )
    if state.apps and (before.major, before.minor) < present:
        apps = {app_id: _migrated(app, era, default_network) for app_id, app in state.apps.items()}
        versions = {
            app_id: {when: _migrated(app, era, default_network) for when, app in kept.items()}
            for app_id, kept in state.versions.items()
        }
        state.apps, state.versions = apps, versions
    state.era = str(era)


def _migrated(app: App, era: Era, default_network: str | None) -> App:
    if app.is_pod:
        return app
    try:
        definition = parse_app(app.definition, "/", era, default_network)
    except ApiError as error:
        details = error.body.get("details") or [{}]
        reason = "; ".join(details[0].get("errors", ())) or error.body.get("message")
        raise MigrationError(
            f"{app.id} cannot be taken over: {reason} (an unnamed network gets the name that "
            "--default-network-name gives)"
        ) from error
    return msgspec.structs.replace(app, definition=definition)
