"""An allocator that gives addresses, as its thread would."""

from netaddr import IPAddress

from calico.model import ContainerId
from reconciler.agent.attachments.allocator import AllocateAsked, Allocator
from reconciler.agent.attachments.requests import Reply
from reconciler.attach.api import AttachError, Wish


def give(allocator: Allocator, container: str) -> tuple[IPAddress, ...] | AttachError | None:
    """Give an address to a container; None if nobody answered."""
    reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
    word: Reply[str] = Reply()
    word.settle("")
    allocator.post(AllocateAsked(ContainerId(container), Wish(), 1e9, reply, word, 1e9))
    allocator.step()
    return reply.wait(0)
