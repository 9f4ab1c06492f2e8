"""Which leaves of profiles are believed that hosts tell of a store which was lost.

A group's rules hold for tasks of every host, so one host's word for them is
not enough: it must be what a controller writes, or what several tell alike.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from calico.codec import decode_labels, decode_rules, decode_tags
from calico.datastore.api import Key
from calico.errors import InvalidValue
from calico.identifiers import APP_PREFIX, HOST_PREFIX
from calico.keys import ProfileLeaf, parse_profile_key
from calico.model import HostName, Profile, ProfileId, Tag
from reconciler.core.adoption import Holdings
from reconciler.core.tasks.profiles import digest_of_rules, group_profile

#: Hosts that have to tell alike what no controller writes.
AGREEING = 2

_OF_APP = re.compile(rf"{APP_PREFIX}[a-z0-9.-]{{1,60}}-([0-9a-f]{{12}})")


@dataclass(frozen=True, slots=True)
class RecoveredLeaves:
    """What is believed, by key, and the keys of a group for which there is no such word."""

    believed: Mapping[Key, str]
    doubtful: Mapping[Key, ProfileId]


def judge_leaves(told: Sequence[Holdings]) -> RecoveredLeaves:
    """Of a key that is neither, a controller writes anew what belongs there."""
    texts: defaultdict[Key, list[tuple[HostName, str]]] = defaultdict(list)
    for held in told:
        for key, text in held.leaves:
            texts[key].append((held.host, text))
    believed: dict[Key, str] = {}
    doubtful: dict[Key, ProfileId] = {}
    for key, said in texts.items():
        parsed = parse_profile_key(key)
        if parsed is None:
            continue
        profile, leaf = parsed
        if profile.startswith(HOST_PREFIX) or _OF_APP.fullmatch(profile):
            made = (text for host, text in said if _is_made(profile, leaf, host, text))
            believed.update((key, text) for text in list(made)[:1])
        elif _is_agreed(profile, leaf, [text for _, text in said]):
            believed[key] = said[0][1]
        else:
            doubtful[key] = profile
    return RecoveredLeaves(believed, doubtful)


def _is_agreed(profile: ProfileId, leaf: ProfileLeaf, texts: Sequence[str]) -> bool:
    if len(set(texts)) == 1 and len(texts) >= AGREEING:
        return True
    return all(_says(group_profile(profile), leaf, text) for text in texts)


def _is_made(profile: ProfileId, leaf: ProfileLeaf, host: HostName, text: str) -> bool:
    """Whether a controller made such a profile so; that of a host concerns its own tasks alone."""
    of_app = _OF_APP.fullmatch(profile)
    if of_app is None:
        return profile == f"{HOST_PREFIX}{host}" and (
            leaf == "rules" or _says(Profile(profile, tags=(Tag(profile),)), leaf, text)
        )
    if leaf == "rules":
        # Its name tells its content.
        return digest_of_rules(text) == of_app[1]
    return _says(Profile(profile), leaf, text)


def _says(made: Profile, leaf: ProfileLeaf, text: str) -> bool:
    """Whether a leaf says what it does of this profile."""
    with suppress(InvalidValue):
        match leaf:
            case "rules":
                return decode_rules(text) == (made.inbound, made.outbound)
            case "tags":
                return decode_tags(text) == made.tags
            case "labels":
                return decode_labels(text) == made.labels
            case _:
                assert_never(leaf)
    return False
