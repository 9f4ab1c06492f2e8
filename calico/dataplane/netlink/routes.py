"""The routes that we own: protocol 80, in our table or in the main one."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from errno import EEXIST, ESRCH

from calico.dataplane.changes import AddRoute, Change, RemoveRoute
from calico.dataplane.netlink import messages
from calico.dataplane.netlink.batches import (
    NetlinkSocket,
)
from calico.dataplane.netlink.messages import SeenRoute
from calico.dataplane.netlink.wire import Request
from calico.dataplane.state import MAIN_TABLE, ROUTE_PROTOCOL, ROUTE_TABLE, Route, RouteKind
from calico.errors import DataplaneError
from calico.model import INTERFACE_PREFIX, InterfaceName


class Routes:
    """Reads and writes routes through one open socket."""

    def __init__(self, host: NetlinkSocket) -> None:
        self._host = host

    def observe(self, name_by_index: Mapping[int, InterfaceName]) -> frozenset[Route]:
        """Our routes of both families."""
        found = (
            messages.own_route(seen, name_by_index) for seen in self._list(protocol=ROUTE_PROTOCOL)
        )
        return frozenset(route for route in found if route is not None)

    def foreign(self) -> list[SeenRoute]:
        """What others put into the main table, IPv4 first, best first."""
        return [seen for seen in self._list(table=MAIN_TABLE) if seen.protocol != ROUTE_PROTOCOL]

    def _list(self, *, protocol: int = 0, table: int = 0) -> Iterator[SeenRoute]:
        for family in (messages.AF_INET, messages.AF_INET6):
            request = messages.dump_routes(family, protocol=protocol, table=table)
            for reply in self._host.dump(request):
                if reply.kind == messages.RTM_NEWROUTE:
                    yield messages.parse_route(reply.body)

    def add(self, changes: Sequence[AddRoute]) -> dict[Change, str]:
        """Add or replace routes; those that failed, with their reasons."""
        failures: dict[Change, str] = {}
        requests: dict[AddRoute, Request] = {}
        replacements: dict[AddRoute, Request] = {}
        for change in changes:
            try:
                index = _leaving_by(change.route)
            except DataplaneError as error:
                failures[change] = str(error)
                continue
            requests[change] = messages.add_route(change.route, index)
            replacements[change] = messages.add_route(change.route, index, replace=True)
        answers = zip(requests, self._host.transact(list(requests.values())), strict=True)
        occupied: list[AddRoute] = []
        for change, refusal in answers:
            if refusal is not None and refusal.code == EEXIST:
                occupied.append(change)
            elif refusal is not None:
                failures[change] = refusal.reason
        if occupied:
            failures |= self._replace({change: replacements[change] for change in occupied})
        return failures

    def _replace(self, requests: Mapping[AddRoute, Request]) -> dict[Change, str]:
        """Take the places of our own routes, and of any in the table that is ours alone."""
        ours = {(route.destination, route.table) for route in self.observe({})}
        failures: dict[Change, str] = {
            change: f"another program has a route to {change.route.destination}"
            for change in requests
            if change.route.table != ROUTE_TABLE
            and (change.route.destination, change.route.table) not in ours
        }
        wanted = {change: each for change, each in requests.items() if change not in failures}
        answers = zip(wanted, self._host.transact(list(wanted.values())), strict=True)
        return failures | {change: refusal.reason for change, refusal in answers if refusal}

    def remove(self, changes: Sequence[RemoveRoute]) -> dict[Change, str]:
        """Remove routes; those that failed, with their reasons."""
        failures: dict[Change, str] = {}
        requests: dict[RemoveRoute, Request] = {}
        for change in changes:
            route = change.route
            if reason := _foreign(route):
                failures[change] = reason
                continue
            index = None
            if route.interface is not None:
                try:
                    index = socket.if_nametoindex(route.interface)
                except OSError:
                    continue  # The device took its routes along.
            requests[change] = messages.remove_route(route, index)
        answers = zip(requests, self._host.transact(list(requests.values())), strict=True)
        return failures | {
            change: refusal.reason
            for change, refusal in answers
            if refusal is not None and refusal.code != ESRCH
        }


def _leaving_by(route: Route) -> int | None:
    """The index of the device that a route leaves by; raises DataplaneError."""
    if reason := _foreign(route):
        raise DataplaneError(reason)
    if route.kind is RouteKind.TASK and not (route.interface or "").startswith(INTERFACE_PREFIX):
        raise DataplaneError(f"{route.interface} is not the interface of a task")
    if route.interface is None:
        return None
    try:
        return socket.if_nametoindex(route.interface)
    except OSError as error:
        raise DataplaneError(f"no interface {route.interface}") from error


def _foreign(route: Route) -> str:
    """Why a route cannot be one of ours, or an empty text."""
    if route.table not in (ROUTE_TABLE, MAIN_TABLE):
        return f"routing table {route.table} is not ours"
    return ""
