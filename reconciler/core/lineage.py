"""Whether a store can be the later self of one that was believed; pure."""

from collections.abc import Mapping, Sequence

from calico.cluster import Takeover
from calico.datastore.api import Key, Listing, Revision, Stored
from calico.model import HostName


def divergence(believed: Mapping[Key, Stored], reached: Revision, found: Listing) -> str:
    """Why what was listed cannot follow what was believed; empty if it can.

    Of what was believed everything is known that was there up to `reached`.
    """
    for each in found.entries:
        if each.revision <= reached and believed.get(each.key) != each:
            return (
                f"the datastore was restored from a backup: {each.key} was told"
                f" at an index that had passed without it, {each.revision}"
            )
    if found.revision == reached and len(found.entries) != len(believed):
        return f"the datastore was restored from a backup: at its index {reached} it had more keys"
    return ""


def missing_write(
    written: Mapping[Key, Revision], found: Mapping[Key, Stored], reached: Revision
) -> str:
    """Why what is told lacks what was written; empty if it does not.

    `written` are keys with the index at which each was written, `found` is all
    that there was at the index that was `reached`. A key that is not there may
    have been removed since.
    """
    for key, revision in written.items():
        if key in found and found[key].revision < revision <= reached:
            return (
                f"the datastore was restored from a backup: {key} is told as of its index"
                f" {found[key].revision}, and was written at {revision}"
            )
    return ""


def contradiction(
    believed: Sequence[Takeover], found: Sequence[Takeover], published: int, reached: int
) -> str:
    """Why the chain that was found cannot follow the one that was believed; empty if it can.

    `published` is the revision at which the newest takeover was told, `reached`
    the one up to which everything had been seen: what was told before that is
    known. Both chains may lack their beginning.
    """
    latest = believed[-1]
    if all((each.number, each.nonce) != (latest.number, latest.nonce) for each in found):
        if found and found[0].number > latest.number:
            # More takeovers than are kept: nothing speaks against it.
            return ""
        newest = str(found[-1].number) if found else "none"
        return (
            f"the datastore was restored from a backup: takeover {latest.number} is not"
            f" among those that it has had (the latest: {newest})"
        )
    later = [each for each in found if each.number > latest.number]
    told = [*(each.revision for each in later[:-1]), *([published] if later else [])]
    if any(0 < each <= reached for each in told):
        return (
            f"the datastore was restored from a backup: takeover {later[0].number} was told"
            f" at an index that had passed without it"
        )
    return ""


def adopts(
    found: Sequence[Takeover], believed: Sequence[Takeover], guid: str, host: HostName
) -> bool:
    """Whether a takeover that was not known says that what this host held was taken over."""
    known = {(each.number, each.nonce) for each in believed}
    return any(
        guid in each.adopts and host in each.hosts and (each.number, each.nonce) not in known
        for each in found
    )
