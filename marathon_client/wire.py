"""The shapes of Marathon's replies, as far as they are used; pure.

Unknown fields are ignored; every field may be absent or null.
"""

import msgspec

# What decoding foreign bytes may raise: RecursionError on deep nesting, and
# UnicodeDecodeError (a ValueError) on bytes that are no UTF-8.
DECODE_ERRORS = (msgspec.DecodeError, RecursionError, ValueError)


class Wire(msgspec.Struct, rename="camel"):
    pass


class DiscoveryPort(Wire):
    number: int | None = None
    name: str | None = None
    protocol: str | None = None


class Discovery(Wire):
    ports: list[DiscoveryPort] | None = None


class IpAddress(Wire):
    groups: list[str] | None = None
    labels: dict[str, str | None] | None = None
    network_name: str | None = None
    discovery: Discovery | None = None


class Network(Wire):
    mode: str | None = None
    name: str | None = None
    labels: dict[str, str | None] | None = None


class Mapping(Wire):
    container_port: int | None = None
    host_port: int | None = None
    name: str | None = None
    protocol: str | None = None
    network_names: list[str] | None = None


class Docker(Wire):
    network: str | None = None
    port_mappings: list[Mapping] | None = None


class Container(Wire):
    docker: Docker | None = None
    port_mappings: list[Mapping] | None = None


class TaskAddress(Wire):
    ip_address: str | None = None


class Task(Wire):
    id: str
    app_id: str | None = None
    host: str | None = None
    state: str | None = None
    ip_addresses: list[TaskAddress] | None = None
    ports: list[int] | None = None
    version: str | None = None
    staged_at: str | None = None
    started_at: str | None = None
    slave_id: str | None = None


class VersionInfo(Wire):
    last_config_change_at: str | None = None


class App(Wire):
    id: str
    version: str | None = None
    version_info: VersionInfo | None = None
    instances: int | None = None
    labels: dict[str, str | None] | None = None
    ip_address: IpAddress | None = None
    networks: list[Network] | None = None
    container: Container | None = None
    tasks: list[Task] | None = None


class PodEndpoint(Wire):
    name: str | None = None
    container_port: int | None = None
    protocol: list[str] | str | None = None
    network_names: list[str] | None = None


class PodContainer(Wire):
    name: str | None = None
    endpoints: list[PodEndpoint] | None = None


class Scaling(Wire):
    instances: int | None = None


class PodSpec(Wire):
    id: str
    version: str | None = None
    labels: dict[str, str | None] | None = None
    networks: list[Network] | None = None
    containers: list[PodContainer] | None = None
    scaling: Scaling | None = None


class EndpointStatus(Wire):
    name: str | None = None
    allocated_host_port: int | None = None


class ContainerStatus(Wire):
    name: str | None = None
    container_id: str | None = None
    status: str | None = None
    endpoints: list[EndpointStatus] | None = None


class NetworkStatus(Wire):
    addresses: list[str | None] | None = None


class PodInstance(Wire):
    id: str
    status: str | None = None
    status_since: str | None = None
    agent_hostname: str | None = None
    agent_id: str | None = None
    networks: list[NetworkStatus] | None = None
    containers: list[ContainerStatus] | None = None
    spec_reference: str | None = None


class PodStatus(Wire):
    id: str
    spec: PodSpec
    # A status without them says nothing of them.
    instances: list[PodInstance] | None = None


class OnlyId(Wire):
    id: str | None = None


class AppsReply(Wire):
    # Raw: one app that is malformed must not spoil its neighbours.
    apps: list[msgspec.Raw]


class AppReply(Wire):
    app: msgspec.Raw = msgspec.Raw(b"")


class InfoReply(Wire):
    version: str | None = None
    framework_id: str | None = None
    leader: str | None = None


class LeaderReply(Wire):
    leader: str | None = None


class MessageReply(Wire):
    message: str
