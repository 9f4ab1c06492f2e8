"""Writes what Calico's tools, and the profiles, say of each registered host."""

import logging
from itertools import islice

from calico.datastore.api import DirectoryStore
from calico.errors import CalicoError
from calico.model import HostName, HostRecord
from reconciler.controller.bootstrap import bootstrap_host
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.tasks.profiles import NetworkPolicy, host_profile

log = logging.getLogger(__name__)

#: Hosts that are looked at again each time, although nothing is heard of them.
LOOKED_AT_AGAIN = 20


class Registrar:
    """Knows which hosts are written; one thread owns it.

    Nobody watches what is written, and it may be taken away: by hand, or by the
    last write of a leader that was stopped while it gave up a host which is
    back. So hosts are looked at again in turn, a few at a time.
    """

    def __init__(self, datastore: DirectoryStore, stored: StoredState, writer: TaskWriter) -> None:
        self._datastore = datastore
        self._stored = stored
        self._writer = writer
        self._known: dict[HostName, HostRecord] = {}

    def register(self, policy: NetworkPolicy) -> None:
        """Write what is missing; raises CalicoError, once all others were written."""
        departed = self._stored.registrations.departed
        for name in (*departed, *islice(self._known, LOOKED_AT_AGAIN)):
            self._known.pop(name, None)
        departed.clear()
        failure: CalicoError | None = None
        for host in self._stored.hosts.values():
            if self._known.get(host.name) == host:
                continue
            try:
                bootstrap_host(self._datastore, host)
                self._writer.rewrite_profile(host_profile(host, policy))
            except CalicoError as error:
                log.warning("host not written", extra={"host": host.name, "why": str(error)})
                failure = error
            else:
                # Those that were looked at last come last.
                self._known.pop(host.name, None)
                self._known[host.name] = host
        if failure is not None:
            raise failure
