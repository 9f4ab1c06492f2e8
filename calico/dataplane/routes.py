"""The routes that we own: protocol 80, in our table or in the main one."""

import socket
from collections.abc import Mapping, Sequence

from calico.dataplane import netlink_messages as messages
from calico.dataplane.changes import AddRoute, Change, RemoveRoute
from calico.dataplane.netlink import NetlinkSocket
from calico.dataplane.netlink_wire import Request
from calico.dataplane.state import MAIN_TABLE, ROUTE_TABLE, Route, RouteKind
from calico.errors import DataplaneError
from calico.model import INTERFACE_PREFIX, InterfaceName

ESRCH, EEXIST = 3, 17


class Routes:
    """Reads and writes routes through one open socket."""

    def __init__(self, host: NetlinkSocket) -> None:
        self._host = host

    def observe(self, name_by_index: Mapping[int, InterfaceName]) -> frozenset[Route]:
        """Our routes of both families."""
        found = (
            messages.parse_route(reply.body, name_by_index)
            for family in (messages.AF_INET, messages.AF_INET6)
            for reply in self._host.dump(messages.dump_routes(family))
            if reply.kind == messages.RTM_NEWROUTE
        )
        return frozenset(route for route in found if route is not None)

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
        """Take the places of our own routes, and of no others."""
        ours = {(route.destination, route.table) for route in self.observe({})}
        failures: dict[Change, str] = {
            change: f"another program has a route to {change.route.destination}"
            for change in requests
            if (change.route.destination, change.route.table) not in ours
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
