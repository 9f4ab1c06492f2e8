"""Taking a container's network away for a runtime that asks only once."""

import logging

from calico.model import ContainerId
from reconciler.attach.api import Attacher, AttachUnavailable

log = logging.getLogger(__name__)


def take_away(attacher: Attacher, container: ContainerId, device: str = "") -> None:
    """Detach a container, see Attacher; what cannot be done now the agent does later by itself.

    Mesos does not ask again: told of a failure, it keeps the container for ever.
    """
    try:
        attacher.detach(container, device)
    except AttachUnavailable as error:
        log.warning("container not taken away yet", extra={"container": container, "why": error})
