"""The records that are ours alone, below `/marathon-calico`.

A field that a newer version added is passed over; one that an older version
did not write has its default.
"""

from collections.abc import Mapping

from calico.codec.fields import (
    as_bool,
    as_int,
    as_object,
    as_text,
    as_tuple,
    parse_object,
    render_json,
)
from calico.errors import InvalidValue
from calico.iptext import parse_address, parse_network
from calico.model import (
    AppliedRecord,
    Attachment,
    BootId,
    ContainerId,
    HostFlags,
    HostName,
    HostRecord,
    PortOpening,
    PortRange,
    Protected,
    Refusal,
    TaskId,
    TaskRecord,
    TaskVerdict,
)


def encode_task(record: TaskRecord) -> str:
    """The controller's record of a task."""
    value: dict[str, object] = {
        "app": record.app,
        "app_version": record.app_version,
        "host": record.host,
        "groups": list(record.groups),
        "ports": [
            {"protocol": each.protocol, "number": each.number, "name": each.name}
            for each in record.ports
        ],
        "ports_declared": record.ports_declared,
        "verdict": record.verdict.value,
        "reason": record.reason,
        "since": record.since,
    }
    if record.container:
        value["container"] = record.container
    return render_json(value | {"pod": True} if record.pod else value)


def decode_task(task: TaskId, text: str) -> TaskRecord:
    """The record at the key of `task`; raises InvalidValue."""
    raw = parse_object(text)
    word = as_text(raw.get("verdict", TaskVerdict.ACCEPTED.value), "verdict")
    try:
        verdict = TaskVerdict(word)
    except ValueError as error:
        raise InvalidValue(f"verdict {word!r} is not known") from error
    return TaskRecord(
        task=task,
        app=as_text(raw.get("app"), "app"),
        app_version=as_text(raw.get("app_version"), "app_version"),
        host=HostName(as_text(raw.get("host"), "host")),
        groups=as_tuple(raw.get("groups", []), "groups", as_text),
        ports=as_tuple(raw.get("ports", []), "ports", _port),
        ports_declared=as_bool(raw.get("ports_declared", True), "ports_declared"),
        verdict=verdict,
        reason=as_text(raw.get("reason", ""), "reason"),
        since=as_text(raw.get("since", ""), "since"),
        container=as_text(raw.get("container", ""), "container"),
        pod=as_bool(raw.get("pod", False), "pod"),
    )


def _port(value: object, name: str) -> PortOpening:
    raw = as_object(value, name)
    opening = PortOpening(
        protocol=as_text(raw.get("protocol"), "protocol"),
        number=as_int(raw.get("number"), "number"),
        name=as_text(raw.get("name", ""), "name"),
    )
    if opening.protocol not in ("tcp", "udp") or not 1 <= opening.number <= 65535:
        raise InvalidValue(f"{name}: {opening.protocol} {opening.number} is not a port")
    return opening


def encode_host(record: HostRecord) -> str:
    """An agent's registration; no agent says of itself that it is forgotten."""
    value: dict[str, object] = {
        "address": str(record.address),
        "boot_id": record.boot_id,
        "machine_id": record.machine_id,
        "version": record.version,
        "others": [str(each) for each in record.others],
    }
    if record.listen:
        value["listen"] = record.listen
    if record.flags is not None:
        value["host_ports"] = [[each.first, each.last] for each in record.flags.host_ports]
        value["protected"] = [
            {"network": str(each.network), "port": each.port} for each in record.flags.protected
        ]
    if record.locators is not None:
        value["locators"] = list(record.locators)
    return render_json(value | {"forgotten": True} if record.forgotten else value)


def decode_host(host: HostName, text: str) -> HostRecord:
    """The registration at the key of `host`; raises InvalidValue."""
    raw = parse_object(text)
    return HostRecord(
        name=host,
        address=parse_address(as_text(raw.get("address"), "address")),
        boot_id=BootId(as_text(raw.get("boot_id"), "boot_id")),
        machine_id=as_text(raw.get("machine_id", ""), "machine_id"),
        version=as_text(raw.get("version", ""), "version"),
        others=tuple(map(parse_address, as_tuple(raw.get("others", []), "others", as_text))),
        forgotten=as_bool(raw.get("forgotten", False), "forgotten"),
        listen=as_text(raw.get("listen", ""), "listen"),
        flags=_flags(raw),
        locators=as_tuple(raw["locators"], "locators", as_text) if "locators" in raw else None,
    )


def _flags(raw: Mapping[str, object]) -> HostFlags | None:
    """None for an agent of a version that does not tell: nothing is known of its host."""
    if "host_ports" not in raw or "protected" not in raw:
        return None
    return HostFlags(
        as_tuple(raw["host_ports"], "host_ports", _port_range),
        as_tuple(raw["protected"], "protected", _protected),
    )


def _port_range(value: object, name: str) -> PortRange:
    ends = as_tuple(value, name, as_int)
    if len(ends) != 2 or not 1 <= ends[0] <= ends[1] <= 65535:
        raise InvalidValue(f"{name}: {value!r} is no range of ports")
    return PortRange(*ends)


def _protected(value: object, name: str) -> Protected:
    raw = as_object(value, name)
    port = raw.get("port")
    return Protected(
        parse_network(as_text(raw.get("network"), f"{name}.network")),
        None if port is None else as_int(port, f"{name}.port"),
    )


def encode_applied(record: AppliedRecord) -> str:
    """How far an agent has come."""
    return render_json(
        {
            "boot_id": record.boot_id,
            "revision": record.revision,
            "gone": list(record.gone),
            "problems": list(record.problems),
            "attachments": [
                {
                    "container": each.container,
                    "addresses": list(map(str, each.addresses)),
                    "task": each.task,
                    "since": each.since,
                }
                for each in record.attachments
            ],
            "refusals": [
                {
                    "caller": each.caller,
                    "kind": each.kind,
                    "why": each.why,
                    "since": each.since,
                }
                for each in record.refusals
            ],
            **({} if record.guid is None else {"guid": record.guid}),
            "link": record.takeover,
            "doubt": record.doubt,
        }
    )


def decode_applied(host: HostName, text: str) -> AppliedRecord:
    """The progress at the key of `host`; raises InvalidValue."""
    raw = parse_object(text)
    return AppliedRecord(
        host=host,
        boot_id=BootId(as_text(raw.get("boot_id"), "boot_id")),
        revision=as_int(raw.get("revision"), "revision"),
        gone=tuple(map(TaskId, as_tuple(raw.get("gone", []), "gone", as_text))),
        problems=as_tuple(raw.get("problems", []), "problems", as_text),
        attachments=as_tuple(raw.get("attachments", []), "attachments", _attachment),
        refusals=as_tuple(raw.get("refusals", []), "refusals", _refusal),
        guid=as_text(raw["guid"], "guid") if "guid" in raw else None,
        takeover=as_int(raw.get("link", 0), "link"),
        doubt=as_text(raw.get("doubt", ""), "doubt"),
    )


def _refusal(value: object, name: str) -> Refusal:
    raw = as_object(value, name)
    return Refusal(
        caller=as_text(raw.get("caller"), f"{name}.caller"),
        kind=as_text(raw.get("kind"), f"{name}.kind"),
        why=as_text(raw.get("why"), f"{name}.why"),
        since=as_text(raw.get("since", ""), f"{name}.since"),
    )


def _attachment(value: object, name: str) -> Attachment:
    raw = as_object(value, name)
    addresses = as_tuple(raw.get("addresses"), f"{name}.addresses", as_text)
    return Attachment(
        container=ContainerId(as_text(raw.get("container"), f"{name}.container")),
        addresses=tuple(map(parse_address, addresses)),
        task=as_text(raw.get("task", ""), f"{name}.task"),
        since=as_text(raw.get("since", ""), f"{name}.since"),
    )
