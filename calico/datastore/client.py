"""python-etcd's client, which tells more of an answer and believes less of it."""

from typing import Any

import etcd

from calico.datastore.connections import is_refusal

#: Those of 64 bits.
_DIGITS = 20


class NotServed(Exception):
    """An answer that is not one of etcd's v2 API."""

    def __init__(self, status: int, *, empty: bool) -> None:
        super().__init__(status)
        self.status = status
        self.empty = empty


class Behind(etcd.EtcdException):  # type: ignore[misc]  # python-etcd has no types
    """The member lacks what was seen already."""


class Client(etcd.Client):  # type: ignore[misc]  # python-etcd has no types
    """Tells an answer of another kind of server apart, by its status."""

    #: The member's when it began the last answer; 0 if it did not say so.
    index = 0
    #: What that must not be below.
    least = 0

    def _check_cluster_id(self, response: Any) -> None:
        super()._check_cluster_id(response)
        told = response.headers.get("x-etcd-index", "")
        self.index = int(told) if told.isdecimal() and len(told) < _DIGITS else 0
        if 0 < self.index < self.least:
            # It would say nothing of what happens there until it has caught up.
            raise Behind(
                f"it is at index {self.index}, and {self.least} was seen: it lags, or was set back"
            )

    def _handle_server_response(self, response: Any) -> Any:
        if response.status not in (200, 201) and not is_refusal(response.data):
            raise NotServed(response.status, empty=not response.data)
        return super()._handle_server_response(response)

    def _result_from_response(self, response: Any) -> Any:
        try:
            return super()._result_from_response(response)
        except (etcd.EtcdException, RecursionError) as error:
            raise NotServed(response.status, empty=not response.data) from error
