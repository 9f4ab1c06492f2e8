"""A network's configuration as a runtime hands it over, and what it asks for a container.

What is not known here is passed over: each runtime adds fields of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netaddr import IPAddress

from calico.codec.fields import as_list, as_object, as_text, render_json
from calico.errors import InvalidValue
from calico.iptext import parse_address
from reconciler.attach.plugin import BAD_CONFIG, CNI, VERSIONS
from reconciler.core.tasks.wishes import FIXED_LABELS, addresses_of_label

BAD_VERSION, UNSUPPORTED, UNKNOWN_CONTAINER = 1, 2, 3

#: Where Mesos puts a container's NetworkInfo.
MESOS = "org.apache.mesos"
#: What names the keeper of addresses that we are.
OWN_IPAM = ("calico-ipam", CNI)


class CniError(Exception):
    """One of CNI's errors; the message is one line for the user."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Config:
    """What is asked for.

    `previous` are the addresses that an earlier answer told, None without one;
    `follows` is whether there was one at all.
    """

    version: str
    network: str
    fixed: tuple[IPAddress, ...] = ()
    follows: bool = False
    previous: tuple[IPAddress, ...] | None = None


def version_of(fields: Mapping[str, Any]) -> str:
    """The version that is asked for, the oldest if none is; raises CniError."""
    version = fields.get("cniVersion") or VERSIONS[0]
    if version not in VERSIONS:
        raise CniError(
            BAD_VERSION, f"cniVersion {_short(version)} is none of {', '.join(VERSIONS)}"
        )
    return str(version)


def parse_config(fields: Mapping[str, Any], arguments: str = "") -> Config:
    """The configuration, and what CNI_ARGS adds to it; raises CniError."""
    version = version_of(fields)
    try:
        _check_ipam(_part(fields, "ipam"))
        return Config(
            version=version,
            network=as_text(fields.get("name"), "name"),
            fixed=tuple(dict.fromkeys((*_of_arguments(arguments), *_fixed(fields)))),
            follows=fields.get("prevResult") is not None,
            previous=_previous(fields),
        )
    except InvalidValue as error:
        raise CniError(BAD_CONFIG, f"the configuration on standard input: {error}") from error


def _part(fields: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """An object inside, by the names that lead to it; empty if one is absent or null."""
    for name in names:
        inner = fields.get(name)
        fields = {} if inner is None else as_object(inner, name)
    return fields


def _check_ipam(ipam: Mapping[str, Any]) -> None:
    keeper = ipam.get("type")
    if keeper and keeper not in OWN_IPAM:
        raise CniError(
            UNSUPPORTED,
            f"field ipam, {_short(ipam)}: addresses come from Calico's pools in etcd",
        )


def _of_arguments(arguments: str) -> Iterator[IPAddress]:
    """The addresses of `IP=...` among others; podman's `--ip` comes this way."""
    for argument in arguments.split(";"):
        name, _, value = argument.partition("=")
        if name == "IP" and value:
            for text in value.split(","):
                yield _bare(text, "IP in CNI_ARGS")


def _fixed(fields: Mapping[str, Any]) -> Iterator[IPAddress]:
    """The addresses that the configuration asks for, in whatever way."""
    for names in (("runtimeConfig",), ("args", "cni")):
        for text in as_list(_part(fields, *names).get("ips") or [], "ips"):
            yield _bare(text, "ips")
    info = _part(fields, "args", MESOS, "network_info")
    for asked in as_list(info.get("ip_addresses") or [], "ip_addresses"):
        # Marathon names only the family that it wants.
        text = as_object(asked, "ip_addresses").get("ip_address")
        if text:
            yield _bare(text, "ip_address")
    for name in FIXED_LABELS:
        for text in dict.fromkeys(_labels(info, name)):
            yield from addresses_of_label(name, text)


def _labels(info: Mapping[str, Any], name: str) -> Iterator[str]:
    for label in as_list(_part(info, "labels").get("labels") or [], "labels"):
        pair = as_object(label, "a label")
        if pair.get("key") == name and pair.get("value") is not None:
            yield as_text(pair["value"], f"label {name}")


def _previous(fields: Mapping[str, Any]) -> tuple[IPAddress, ...] | None:
    if fields.get("prevResult") is None:
        return None
    previous = as_object(fields["prevResult"], "prevResult")
    given = as_list(previous.get("ips") or [], "prevResult.ips")
    return tuple(_bare(as_object(each, "ips").get("address"), "ips") for each in given)


def _bare(value: object, name: str) -> IPAddress:
    """An address, with or without the length of a prefix."""
    return parse_address(as_text(value, name).partition("/")[0])


def _short(value: object) -> str:
    text = render_json(value)
    return text if len(text) <= 60 else text[:60] + "..."
