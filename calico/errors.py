"""What can go wrong below the reconciler, told apart by what helps."""


class CalicoError(Exception):
    """Root of every error of this package."""


class InvalidName(CalicoError):
    """A string from outside may not become part of a datastore key."""


class InvalidValue(CalicoError):
    """A value in the datastore does not have the form that its key promises."""


class UnknownSchema(InvalidValue):
    """The datastore's keys are laid out as only another version knows."""


class DatastoreError(CalicoError):
    """Root of what the datastore raises."""


class DatastoreUnavailable(DatastoreError):
    """The datastore did not answer; the write may or may not have been done."""


class DatastoreRefused(DatastoreError):
    """The datastore answers, but will not serve us: v2 API off, no permission."""


class Conflict(DatastoreError):
    """The key was not in the state that the write expected."""


class HistoryLost(DatastoreError):
    """The datastore no longer knows all events since the asked revision: list anew."""


class AddressError(CalicoError):
    """Root of what address management raises."""


class PoolExhausted(AddressError):
    """No free address is left in the pools that may be used."""


class AddressTaken(AddressError):
    """The address belongs to another handle."""


class AddressOutsidePools(AddressError):
    """No pool that may be used holds the address."""


class AddressAwaited(AddressError):
    """An address that was given out already may turn out to be the one to use."""


class DataplaneError(CalicoError):
    """The kernel refused a change."""


class DataplaneUnsupported(DataplaneError):
    """This machine lacks what the dataplane needs; the message names the remedy."""


class NamespaceGone(DataplaneError):
    """The network namespace, or the process that holds it, ended meanwhile."""


class NamespaceRefused(DataplaneError):
    """The network namespace is not a task's own: the agent's, pid 1's or shared."""
