"""Whose word Marathon's is: that of the framework which this cluster belongs to, or not.

A URL may lead to another Marathon than yesterday. What it does not name has not
ended, and what it names is not ours.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Mesos draws them from UUIDs; anything else is no id, and never shown.
_ID = re.compile(r"[a-zA-Z0-9_.:@-]{1,200}")


class Trust(enum.Enum):
    """What a list of Marathon is worth."""

    OURS = "ours"
    """The pinned framework answers."""
    UNTOLD = "untold"
    """It does not say who it is: what it lacks proves nothing."""
    FOREIGN = "foreign"
    """Another framework answers: nothing that it says is believed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found out; `framework` is the one to pin, or the foreign one, or empty."""

    trust: Trust
    framework: str = ""


def is_framework(text: str) -> bool:
    """Whether it may be the id of a framework."""
    return _ID.fullmatch(text) is not None


def judge_frameworks(pinned: str, told: Sequence[str | None]) -> Standing:
    """Compare what Marathon said before and after an answer with what is pinned.

    `told` has None for whoever could not say it: one that just starts has no
    id yet. Nothing is pinned by the first answer unless all agree.
    """
    ids = {each for each in told if each is not None and is_framework(each)}
    foreign = ids - {pinned} if pinned else set()
    if foreign:
        return Standing(Trust.FOREIGN, min(foreign))
    if len(ids) != 1 or len(told) != sum(each in ids for each in told):
        return Standing(Trust.UNTOLD)
    return Standing(Trust.OURS, min(ids))
