"""CNI's calls, as a runtime makes them: its environment and its text to calls of the Attacher.

Versions 0.1.0 and 0.2.0 answer in the form `ip4`, `ip6`, the only one that
Mesos reads; later ones with `ips` and `interfaces`. No answer has `dns`, so
that the runtime gives the container its own.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from netaddr import IPAddress, mac_unix_expanded

from calico.codec.fields import as_text, as_text_pairs, parse_object, render_json
from calico.dataplane.state import GATEWAY4, GATEWAY6, HOST_MAC
from calico.errors import InvalidName, InvalidValue
from calico.identifiers import check_container
from calico.model import ContainerId
from reconciler.attach.api import (
    Attached,
    Attacher,
    AttachError,
    AttachRefused,
    AttachUnavailable,
    Place,
    UnknownContainer,
    Wish,
)
from reconciler.attach.calls.cni_config import (
    BAD_VERSION,
    UNKNOWN_CONTAINER,
    CniError,
    Config,
    parse_config,
    version_of,
)
from reconciler.attach.plugin import (
    BAD_CONFIG,
    BAD_ENVIRONMENT,
    TRY_LATER,
    UNDECODABLE,
    VERSIONS,
)
from reconciler.attach.refusals import Answered, kind_of
from reconciler.attach.removal import take_away

#: What each command needs; DEL comes without a namespace after a reboot.
NEEDED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
}
#: The first version in which each is known.
CHECKS_FROM = "0.4.0"
INTERFACES_FROM = "0.3.0"
NO_FAMILY_FROM = "1.0.0"

GATEWAYS = {4: GATEWAY4, 6: GATEWAY6}
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
#: The place of the container's side in the list `interfaces` of an answer.
INSIDE = 1


@dataclass(frozen=True, slots=True)
class CniCalls:
    """Carries calls out; only for `networks`, or for any if there is none."""

    networks: frozenset[str] = frozenset()

    def answer(self, request: Mapping[str, Any], attacher: Attacher, descriptor: int) -> Answered:
        """The plugin's exit code, and the result or error that it prints."""
        try:
            environment = dict(as_text_pairs(request.get("environment"), "environment"))
            text = as_text(request.get("input"), "input")
        except InvalidValue as error:
            raise AttachRefused(f"no call of CNI: {error}") from error
        version = VERSIONS[0]
        try:
            fields = _decode(text)
            version = version_of(fields)
            result = self._carry_out(environment, fields, attacher, descriptor)
        except CniError as error:
            printed = _render_error(version, error.code, str(error), environment)
            return Answered(1, printed, "refused", str(error))
        except AttachError as error:
            printed = _render_error(version, _code(error), str(error), environment)
            return Answered(1, printed, kind_of(error), str(error))
        return Answered(0, "" if result is None else render_json(result) + "\n")

    def _carry_out(
        self,
        environment: Mapping[str, str],
        fields: Mapping[str, Any],
        attacher: Attacher,
        descriptor: int,
    ) -> dict[str, object] | None:
        call = _call(environment)
        match call.command:
            case "ADD":
                config = self._config(fields, environment.get("CNI_ARGS", ""))
                return _result(config.version, _add(call, config, attacher, descriptor), call)
            case "CHECK":
                _check(call, self._config(fields), attacher)
                return None
            case _:
                # Whatever has become of the configuration, what was made goes; but not
                # the first interface with a second one, which was refused.
                take_away(attacher, call.container, call.device)
                return None

    def _config(self, fields: Mapping[str, Any], arguments: str = "") -> Config:
        config = parse_config(fields, arguments)
        if self.networks and config.network not in self.networks:
            raise CniError(
                BAD_CONFIG,
                f"network {config.network!r} is none of this agent's --network:"
                f" {', '.join(sorted(self.networks))}",
            )
        return config


@dataclass(frozen=True, slots=True)
class _Call:
    command: str
    container: ContainerId
    namespace: str
    device: str


def _decode(text: str) -> Mapping[str, Any]:
    try:
        return parse_object(text)
    except InvalidValue as error:
        raise CniError(UNDECODABLE, f"the configuration on standard input: {error}") from error


def _call(environment: Mapping[str, str]) -> _Call:
    command = environment.get("CNI_COMMAND", "")
    if command not in NEEDED:
        raise CniError(BAD_ENVIRONMENT, f"CNI_COMMAND {command!r} is none of {', '.join(NEEDED)}")
    missing = [name for name in NEEDED[command] if not environment.get(name)]
    if missing:
        raise CniError(BAD_ENVIRONMENT, f"{command} needs {', '.join(missing)}")
    try:
        container = check_container(environment["CNI_CONTAINERID"])
    except InvalidName as error:
        raise CniError(BAD_ENVIRONMENT, f"CNI_CONTAINERID: {error}") from error
    return _Call(
        command=command,
        container=container,
        namespace=environment.get("CNI_NETNS", ""),
        device=environment["CNI_IFNAME"],
    )


def _add(call: _Call, config: Config, attacher: Attacher, descriptor: int) -> Attached:
    if config.follows:
        raise CniError(BAD_CONFIG, "prevResult: another plugin made the container's network before")
    allocated = attacher.allocate(call.container, Wish(config.fixed))
    place = Place(descriptor, path=call.namespace, device=call.device)
    try:
        return attacher.attach(call.container, place)
    except AttachError:
        # Addresses without a link are this call's own; with one, an earlier call's,
        # or that of another one that Mesos makes at the same time.
        if not allocated.device:
            with suppress(AttachError):
                attacher.detach(call.container, call.device)
        raise


def _check(call: _Call, config: Config, attacher: Attacher) -> None:
    if not _from(config.version, CHECKS_FROM):
        raise CniError(BAD_VERSION, f"CHECK is not part of CNI {config.version}")
    attached = attacher.check(call.container)
    if attached.device != call.device:
        raise UnknownContainer(
            f"container {call.container} has {attached.device or 'no interface'}, not {call.device}"
        )
    if config.previous is None:
        raise CniError(BAD_CONFIG, "CHECK needs prevResult, the answer to ADD")
    if set(config.previous) != set(attached.addresses):
        has = ", ".join(map(str, attached.addresses))
        raise CniError(BAD_CONFIG, f"prevResult: container {call.container} has {has}")


def _result(version: str, attached: Attached, call: _Call) -> dict[str, object]:
    if not _from(version, INTERFACES_FROM):
        first = {each.version: each for each in reversed(attached.addresses)}
        forms = {f"ip{family}": _family_form(first[family]) for family in sorted(first)}
        return {"cniVersion": version, **forms}
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": attached.interface, "mac": HOST_MAC.format(mac_unix_expanded)},
            {
                "name": attached.device,
                "mac": attached.mac.format(mac_unix_expanded),
                "sandbox": call.namespace,
            },
        ],
        "ips": [_address_form(version, each) for each in attached.addresses],
        "routes": [
            _route(family) for family in sorted({each.version for each in attached.addresses})
        ],
    }


def _family_form(address: IPAddress) -> dict[str, object]:
    return {
        "ip": _with_prefix(address),
        "gateway": str(GATEWAYS[address.version]),
        "routes": [_route(address.version)],
    }


def _address_form(version: str, address: IPAddress) -> dict[str, object]:
    form: dict[str, object] = {
        "address": _with_prefix(address),
        "gateway": str(GATEWAYS[address.version]),
        "interface": INSIDE,
    }
    return form if _from(version, NO_FAMILY_FROM) else {"version": str(address.version), **form}


def _route(family: int) -> dict[str, object]:
    return {"dst": ANYWHERE[family], "gw": str(GATEWAYS[family])}


def _with_prefix(address: IPAddress) -> str:
    return f"{address}/{32 if address.version == 4 else 128}"


def _from(version: str, first: str) -> bool:
    return VERSIONS.index(version) >= VERSIONS.index(first)


def _code(error: AttachError) -> int:
    match error:
        case AttachUnavailable():
            return TRY_LATER
        case UnknownContainer():
            return UNKNOWN_CONTAINER
        case _:
            return BAD_CONFIG


def _render_error(version: str, code: int, message: str, environment: Mapping[str, str]) -> str:
    told = {name: environment.get(f"CNI_{name.upper()}", "") for name in ("command", "containerid")}
    return (
        render_json(
            {
                "cniVersion": version,
                "code": code,
                "msg": " ".join(message.split()),
                "details": f"{told['command']} of container {told['containerid']}",
            }
        )
        + "\n"
    )
