"""What may be asked of an Attacher at all, whoever implements it."""

import re

from calico.errors import InvalidName
from calico.identifiers import check_container
from calico.model import ContainerId
from reconciler.attach.api import Attached, AttachRefused, Place, Wish
from reconciler.attach.wire import NO_DESCRIPTOR
from reconciler.core.tasks.wishes import MOST_FIXED_ADDRESSES

#: The kernel's 15 characters; dots and dashes not first, so that no path or flag is made of it.
_DEVICE = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}")
#: Names that every namespace has, or that mean all devices in its settings.
_RESERVED = ("lo", "all", "default")


def check_id(text: str) -> ContainerId:
    """A container's id; raises AttachRefused."""
    try:
        return check_container(text)
    except InvalidName as error:
        raise AttachRefused(str(error)) from error


def check_wish(wish: Wish) -> None:
    """Raise AttachRefused for a wish that nobody could fulfil."""
    if len(wish.fixed) > MOST_FIXED_ADDRESSES or len(set(wish.fixed)) != len(wish.fixed):
        raise AttachRefused(
            f"up to {MOST_FIXED_ADDRESSES} fixed addresses can be asked for, each once"
        )
    for count in (wish.count4, wish.count6):
        if count not in (None, 0, 1):
            raise AttachRefused(
                "a container gets one address of each family beside its fixed ones,"
                f" {count} cannot be asked for"
            )


def wanted(wish: Wish, version: int, *, has_pool: bool) -> bool:
    """Whether a family's address is wanted beside the fixed ones."""
    count = wish.count4 if version == 4 else wish.count6
    if count is None:
        return has_pool and not wish.fixed
    return count > 0


def check_same_wish(known: Attached, wish: Wish) -> None:
    """Raise AttachRefused if a container that has addresses is asked for others."""
    missing = [str(each) for each in wish.fixed if each not in known.addresses]
    if missing:
        raise AttachRefused(
            f"container {known.container} has {_listed(known)} already and cannot be given"
            f" {', '.join(missing)} beside"
        )


def check_place(place: Place) -> None:
    """Raise AttachRefused for a place without a namespace, or a device with no proper name."""
    if place.descriptor == NO_DESCRIPTOR and place.pid <= 0:
        raise AttachRefused("a network namespace is needed: its descriptor, or a process in it")
    if not _DEVICE.fullmatch(place.device) or place.device in _RESERVED:
        raise AttachRefused(f"{place.device!r} is no name for an interface of a container")


def has_another(device: str, meant: str) -> bool:
    """Whether a container has a link, and not the one that is meant, if one is."""
    return bool(device and meant) and device != meant


def second_interface(known: Attached, device: str) -> AttachRefused:
    """A container has one network interface of ours, in one namespace."""
    return AttachRefused(
        f"container {known.container} is attached already, as {known.device} with"
        f" {_listed(known)}: a second interface {device}, or another namespace,"
        " cannot be given to it"
    )


def _listed(known: Attached) -> str:
    return ", ".join(map(str, known.addresses))
