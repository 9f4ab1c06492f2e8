"""Records of the cluster as a whole, below `/marathon-calico`."""

from collections.abc import Iterable
from functools import lru_cache

from calico.cluster import (
    SCHEMA,
    ClusterRecord,
    HoldKind,
    HoldRecord,
    LeaderRecord,
    ObjectionRecord,
    Standing,
    Takeover,
)
from calico.codec.fields import as_int, as_object, as_text, as_tuple, parse_object, render_json
from calico.datastore.api import Key
from calico.errors import InvalidValue, UnknownSchema
from calico.iptext import parse_network
from calico.model import BootId, HostName

#: These are read again and again, and hardly change but with a takeover.
_REMEMBERED = 16


def encode_cluster(record: ClusterRecord) -> str:
    """What is pinned for the cluster."""
    return render_json(
        {
            "schema": record.schema,
            "uuid": record.uuid,
            "framework": record.framework,
            "marathon": record.marathon,
            "allow_from": [str(each) for each in record.allow_from],
            "chain": list(map(_render_takeover, record.chain)),
        }
    )


def encode_chain(chain: Iterable[Takeover]) -> str:
    """The takeovers alone, as they are published for agents."""
    return render_json({"chain": list(map(_render_takeover, chain))})


@lru_cache(maxsize=_REMEMBERED)
def decode_chain(text: str) -> tuple[Takeover, ...]:
    """The takeovers that are published; raises InvalidValue."""
    return as_tuple(parse_object(text).get("chain"), "chain", _takeover)


def _render_takeover(takeover: Takeover) -> dict[str, object]:
    return {
        "number": takeover.number,
        "nonce": takeover.nonce,
        "adopts": list(takeover.adopts),
        "hosts": list(takeover.hosts),
        "revision": takeover.revision,
    }


@lru_cache(maxsize=_REMEMBERED)
def decode_cluster(text: str) -> ClusterRecord:
    """The record at its one key; raises UnknownSchema for another schema, else InvalidValue."""
    raw = parse_object(text)
    schema = as_int(raw.get("schema"), "schema")
    if schema != SCHEMA:
        raise UnknownSchema(
            f"schema {schema} is not known to this version, which knows {SCHEMA}: "
            "run the version that wrote it, or a newer one"
        )
    return ClusterRecord(
        uuid=as_text(raw.get("uuid"), "uuid"),
        framework=as_text(raw.get("framework", ""), "framework"),
        marathon=as_text(raw.get("marathon", ""), "marathon"),
        allow_from=tuple(
            map(parse_network, as_tuple(raw.get("allow_from", []), "allow_from", as_text))
        ),
        chain=as_tuple(raw.get("chain", []), "chain", _takeover),
    )


def _takeover(value: object, name: str) -> Takeover:
    raw = as_object(value, name)
    return Takeover(
        as_int(raw.get("number"), f"{name}.number"),
        as_text(raw.get("nonce"), f"{name}.nonce"),
        as_tuple(raw.get("adopts", []), f"{name}.adopts", as_text),
        tuple(map(HostName, as_tuple(raw.get("hosts", []), f"{name}.hosts", as_text))),
        as_int(raw.get("revision", 0), f"{name}.revision"),
    )


def encode_leader(record: LeaderRecord) -> str:
    """Who leads."""
    told = {"holder": record.holder, "since": record.since}
    if record.standing is not None:
        told |= {"opened": record.standing.opened, "waits": record.standing.waits}
    return render_json(told)


@lru_cache(maxsize=_REMEMBERED)
def decode_leader(text: str) -> LeaderRecord:
    """Who leads; raises InvalidValue."""
    raw = parse_object(text)
    standing = None
    if "opened" in raw:
        standing = Standing(
            as_text(raw["opened"], "opened"), as_text(raw.get("waits", ""), "waits")
        )
    return LeaderRecord(
        holder=as_text(raw.get("holder"), "holder"),
        since=as_text(raw.get("since", ""), "since"),
        standing=standing,
    )


def encode_hold(record: HoldRecord) -> str:
    """What waits for an operator."""
    return render_json(
        {
            "plan": record.plan,
            "reason": record.reason,
            "subjects": list(record.subjects),
            "since": record.since,
            "approved": record.approved,
        }
    )


def decode_hold(kind: HoldKind, text: str) -> HoldRecord:
    """The hold at the key of `kind`; raises InvalidValue."""
    raw = parse_object(text)
    return HoldRecord(
        kind=kind,
        plan=as_text(raw.get("plan"), "plan"),
        reason=as_text(raw.get("reason", ""), "reason"),
        subjects=as_tuple(raw.get("subjects", []), "subjects", as_text),
        since=as_text(raw.get("since", ""), "since"),
        approved=as_text(raw.get("approved", ""), "approved"),
    )


def encode_objection(record: ObjectionRecord) -> str:
    """An objection to the store: what a host holds of another one."""
    return render_json(
        {
            "boot_id": record.boot_id,
            "guid": record.guid,
            "link": record.takeover,
            "entries": [list(each) for each in record.entries],
            "hosts": list(record.hosts),
        }
    )


def decode_objection(host: HostName, text: str) -> ObjectionRecord:
    """The record at the key of `host`; raises InvalidValue."""
    raw = parse_object(text)
    return ObjectionRecord(
        host=host,
        boot_id=BootId(as_text(raw.get("boot_id"), "boot_id")),
        guid=as_text(raw.get("guid"), "guid"),
        takeover=as_int(raw.get("link"), "link"),
        entries=as_tuple(raw.get("entries", []), "entries", _entry),
        hosts=tuple(map(HostName, as_tuple(raw.get("hosts", []), "hosts", as_text))),
    )


def _entry(value: object, name: str) -> tuple[Key, str]:
    match as_tuple(value, name, as_text):
        case (key, text):
            return Key(key), text
        case _:
            raise InvalidValue(f"{name} must be a key and its value")
