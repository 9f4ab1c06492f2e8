"""Whether a store can be the later self of one that was believed; pure."""

from collections.abc import Sequence

from calico.cluster import Takeover
from calico.model import HostName


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
