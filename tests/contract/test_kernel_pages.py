"""What an agent tells of its kernel over HTTP, and what the commands make of it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import requests
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.dataplane.changes import AddRoute, CommitTable, RemoveLink, RemoveRoute
from calico.dataplane.netlink.inspection import KernelInspector
from calico.dataplane.nft.expr import ACCEPT, rule
from calico.dataplane.state import Chain, Route, RouteKind
from calico.datastore.memory import MemoryDatastore
from calico.model import BootId, HostName
from reconciler.agent.observation.lookout import KernelPages, Look, LookAsked
from reconciler.cli.commands.describe import judge_describe
from reconciler.cli.commands.diff import hosts_concerned, judge_diff
from reconciler.cli.commands.why import judge_why
from reconciler.cli.printing.render import Answer, render
from reconciler.cli.reading.cluster import Cluster, read_cluster
from reconciler.cli.reading.kernels import WITHIN, NotTold, ask_hosts, ask_task, ask_verdicts
from reconciler.core.reaching.reach import TCP, first_packet
from reconciler.runtime.clock import SYSTEM_CLOCK
from reconciler.runtime.listener import Ask
from tests.contract.paged_agent import PATIENCE, PagedAgent, paged_agent
from tests.unit.cli.world import World, star

NOW = datetime(2016, 5, 1, 10, 5, tzinfo=UTC)
A, B, C = (IPAddress(f"192.168.0.{number}") for number in (1, 65, 66))
HOST = HostName("host-b")


@pytest.fixture
def world() -> World:
    return star(MemoryDatastore())


@pytest.fixture
def agent(world: World) -> Iterator[PagedAgent]:
    """That of host-b; host-a's is of an older version and tells nothing."""
    with paged_agent(world.datastore, HOST, "10.1.0.2") as running:
        yield running


def cluster(world: World) -> Cluster:
    return read_cluster(world.datastore)


def text(answer: Answer) -> str:
    return render(answer, "table", width=None, colour=False)


def diff(world: World, name: str | None) -> Answer:
    found = cluster(world)
    return judge_diff(found, name, ask_hosts(found, hosts_concerned(found, name)))


def get(agent: PagedAgent, path: str) -> dict[str, object]:
    answer = requests.get(f"{agent.url}{path}", timeout=5)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def opened(chain: Chain) -> Chain:
    """A chain into which somebody put a hole."""
    return replace(chain, rules=(rule(ACCEPT), *chain.rules))


def wait_for(holds: Callable[[], bool]) -> None:
    until = SYSTEM_CLOCK.monotonic() + PATIENCE
    while not holds():
        assert SYSTEM_CLOCK.monotonic() < until
        threading.Event().wait(0.01)


def test_a_kernel_as_it_should_be_has_no_differences(world: World, agent: PagedAgent) -> None:
    page = get(agent, "/kernel")
    assert (page["host"], page["source"], page["differences"]) == (HOST, "datastore", [])
    answer = diff(world, HOST)
    assert (answer.data, answer.exit_code) == ([], 0)
    assert text(answer) == "desired and actual agree: 2 tasks on 1 host\n"


def test_what_is_missing_and_what_is_too_much_is_told_and_then_mended(
    world: World, agent: PagedAgent
) -> None:
    # given a foreign rule, an orphaned route, and a task without its route
    before = agent.kernel()
    chain = agent.chain_of("star_probe-b.1", "inbound")
    orphan = Route(IPNetwork("192.168.9.9/32"), RouteKind.HOST, gateway=IPAddress("10.1.0.1"))
    (lost,) = (route for route in before.routes if route.destination.ip == C)
    agent.dataplane.apply(
        (CommitTable(chains=(opened(chain),)), AddRoute(orphan), RemoveRoute(lost))
    )
    # when
    answer = diff(world, HOST)
    # then
    assert answer.exit_code == 1
    host, task = text(answer).split("\n\n")
    assert host.splitlines() == [
        "agent on host-b",
        "- kernel route 192.168.9.9/32 via 10.1.0.1 table 80",
        f"- kernel rule {chain.name} 1: accept",
    ]
    assert task.splitlines() == [
        "star_probe-c.1 on host-b",
        f"+ kernel route 192.168.0.66/32 dev {lost.interface} src 10.1.0.2 table 80",
    ]
    assert isinstance(answer.data, list)
    assert {row["source"] for row in answer.data} == {"kernel"}
    # and the agent, which had to look, mends it at once
    wait_for(lambda: agent.kernel() == before)


def test_one_task_is_compared_alone(world: World, agent: PagedAgent) -> None:
    link = agent.link_of("star_probe-c.1")
    agent.dataplane.apply((RemoveLink(link),))
    assert diff(world, "star_probe-b").exit_code == 0
    answer = diff(world, "star_probe-c")
    assert answer.exit_code == 1
    assert f"+ kernel link {link} up" in text(answer)


def test_a_task_is_described_as_wanted_reported_and_in_the_kernel(
    world: World, agent: PagedAgent
) -> None:
    found = cluster(world)
    told = ask_task(found, HOST, "star_probe-b.1")
    answer = judge_describe(found, NOW, "star_probe-b", told)
    printed = text(answer)
    lines = {line.split("  ")[0]: line for line in printed.splitlines() if line}
    assert lines["address"].split() == ["address", *["192.168.0.65"] * 3]
    assert lines["mtu"].split() == ["mtu", "1500", "-", "1500"]
    assert "DIFFERS" not in printed
    assert "  sent      7 packets, 700 bytes" in printed
    assert "  received  9 packets, 900 bytes, 1 dropped" in printed
    assert "2 ip saddr tag star-1" in printed
    assert "   2 packets, 200 bytes" in printed
    assert f"  inbound    chain {agent.chain_of('star_probe-b.1', 'inbound').name}" in printed
    assert isinstance(answer.data, dict)
    assert answer.data["kernel"]["told"] is True
    sets = {(each["name"], each["meaning"]) for each in answer.data["kernel"]["sets"]}
    assert {("local4", ""), ("source4", "")} < sets
    assert any(meaning == "tag star-1" for _, meaning in sets)
    assert not any(line["differs"] for line in answer.data["compared"])


def test_a_task_whose_kernel_differs_is_marked(world: World, agent: PagedAgent) -> None:
    link = agent.link_of("star_probe-b.1")
    agent.dataplane.apply((RemoveLink(link),))
    found = cluster(world)
    told = ask_task(found, HOST, "star_probe-b.1")
    answer = judge_describe(found, NOW, "star_probe-b", told)
    (line,) = (each for each in text(answer).splitlines() if each.startswith("link"))
    assert line.split() == ["link", link, "up", "-", "nothing", "DIFFERS"]
    assert answer.exit_code == 0


def test_a_task_that_is_nowhere_is_not_found(agent: PagedAgent) -> None:
    answer = requests.get(f"{agent.url}/kernel/tasks/nobody.1", timeout=5)
    assert (answer.status_code, answer.json()) == (
        404,
        {"ok": False, "reason": "host host-b has no task 'nobody.1', and none is asked of it"},
    )


@pytest.mark.parametrize(
    ("source", "port", "verdict", "by"),
    [
        pytest.param(A, 9000, "accept", "ip saddr tag star-1", id="a friend to an open port"),
        pytest.param(A, 9001, "drop", "drop", id="a friend to a closed port"),
        pytest.param(C, 9000, "drop", "drop", id="a foe of the same host"),
        pytest.param(IPAddress("8.8.8.8"), 9000, "drop", "drop", id="from outside"),
        pytest.param(IPAddress("10.1.0.2"), 22, "accept", "the host's own", id="its own host"),
    ],
)
def test_the_kernel_s_own_rules_decide(
    agent: PagedAgent, source: IPAddress, port: int, verdict: str, by: str
) -> None:
    query = f"source={source}&destination={B}&protocol=6&port={port}"
    told = get(agent, f"/kernel/verdict?{query}")
    assert told["verdict"] == verdict
    assert by in str(told["by"])


def why(world: World, source: str, port: int) -> Answer:
    """As host-b's kernel is the only one that tells."""
    found = cluster(world)
    address = {"star_probe-a": A, "star_probe-c": C}[source]
    told = ask_verdicts(found, [HOST], first_packet(address, B, TCP, port))
    return judge_why(found, source, f"star_probe-b:{port}", told)


@pytest.mark.parametrize(
    ("source", "port", "exit_code"),
    [
        pytest.param("star_probe-a", 9000, 0, id="allowed"),
        pytest.param("star_probe-a", 9001, 1, id="closed port"),
        pytest.param("star_probe-c", 9000, 1, id="no common group"),
    ],
)
def test_the_kernel_agrees_with_why(
    world: World, agent: PagedAgent, source: str, port: int, exit_code: int
) -> None:
    answer = why(world, source, port)
    assert answer.exit_code == exit_code
    assert isinstance(answer.data, dict)
    assert answer.data["kernel"]["agrees"] == "yes"


def test_why_says_so_when_the_kernel_lets_pass_what_policy_closes(
    world: World, agent: PagedAgent
) -> None:
    hole = opened(agent.chain_of("star_probe-b.1", "inbound"))
    agent.dataplane.apply((CommitTable(chains=(hole,)),))
    answer = why(world, "star_probe-a", 9001)
    assert answer.exit_code == 1
    assert f"kernel    host-b does not: it lets it pass: chain {hole.name}, rule 1" in text(answer)


def test_a_rule_that_is_not_understood_leaves_the_kernel_unknown(
    world: World, agent: PagedAgent
) -> None:
    chain = agent.chain_of("star_probe-b.1", "inbound")
    odd = rule({"match": {"op": "==", "left": {"meta": {"key": "skuid"}}, "right": 7}}, ACCEPT)
    odd = replace(chain, rules=(odd, *chain.rules))
    agent.dataplane.apply((CommitTable(chains=(odd,)),))
    answer = why(world, "star_probe-a", 9000)
    assert isinstance(answer.data, dict)
    assert answer.data["kernel"]["agrees"] == "unknown"


# -- who is told, and how often --


def test_tasks_are_not_told(agent: PagedAgent) -> None:
    pages = KernelPages(agent.inbox.post, agent)
    query = {"source": "1.1.1.1", "destination": "1.1.1.2", "protocol": "6"}
    for peer, status in (("192.168.0.1", 403), ("10.1.0.9", 200), ("127.0.0.1", 200)):
        for page in (pages.host, pages.task, pages.verdict):
            assert page(Ask(IPAddress(peer), "star_probe-b.1", query)).code == status


def test_however_many_ask_the_kernel_is_looked_at_once(agent: PagedAgent) -> None:
    seen: list[object] = []
    for _ in range(50):
        agent.inbox.post(LookAsked(seen.append))
    wait_for(lambda: len(seen) == 50)
    assert isinstance(seen[0], Look)
    assert all(each is seen[0] for each in seen)


def test_an_agent_that_is_stuck_says_so_in_time() -> None:
    pages = KernelPages(lambda _: None, KernelInspector(), patience=0.01)
    page = pages.host(Ask(IPAddress("127.0.0.1")))
    assert (page.code, "has not looked" in str(page.fields["reason"])) == (503, True)


def test_a_question_without_its_parts_is_refused(agent: PagedAgent) -> None:
    for query in ("", "?source=x&destination=10.0.0.1&protocol=6", "?source=10.0.0.1"):
        answer = requests.get(f"{agent.url}/kernel/verdict{query}", timeout=5)
        assert answer.status_code == 400


def test_an_unknown_page_below_is_none(agent: PagedAgent) -> None:
    for path in ("/kernel/", "/kernel/tasks/", "/kernel/tasks", "/kernel/tasks/a/b"):
        assert requests.get(f"{agent.url}{path}", timeout=5).status_code == 404


# -- agents that cannot be asked --


def test_who_cannot_be_asked_is_told_with_a_remedy_and_changes_no_exit_code(
    world: World, agent: PagedAgent
) -> None:
    answer = diff(world, None)
    assert answer.exit_code == 0
    assert text(answer).splitlines() == [
        "agent on host-a",
        "? kernel its agent does not say where it serves its pages; it is of an older version, "
        "update it; --no-kernel asks etcd alone",
    ]


def registered(world: World, listen: str, boot_id: BootId | None = None) -> None:
    """host-b serves its pages at this place."""
    record = cluster(world).snapshot.hosts[HOST]
    changed = replace(
        record, address=IPAddress("127.0.0.1"), listen=listen, boot_id=boot_id or record.boot_id
    )
    world.datastore.put(keys.host_key(HOST), codec.encode_host(changed))


def not_told(world: World) -> NotTold:
    told = ask_hosts(cluster(world), [HOST]).hosts[HOST]
    assert isinstance(told, NotTold)
    return told


def test_an_agent_that_is_away_is_told_with_its_place(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    registered(world, f":{port}")
    told = not_told(world)
    assert f"127.0.0.1:{port} cannot be asked" in told.reason
    assert "--no-kernel" in told.remedy


def test_an_agent_at_another_machine_s_loopback_is_not_asked(world: World) -> None:
    registered(world, "127.0.0.1:9402", BootId("another"))
    told = not_told(world)
    assert "at 127.0.0.1:9402 only" in told.reason
    assert "--listen :9402" in told.remedy


def test_another_agent_in_its_place_is_not_believed(world: World, agent: PagedAgent) -> None:
    record = cluster(world).snapshot.hosts[HOST]
    other = replace(record, name=HostName("host-a"))
    world.datastore.put(keys.host_key(other.name), codec.encode_host(other))
    told = ask_hosts(cluster(world), [other.name]).hosts[other.name]
    assert isinstance(told, NotTold)
    assert "'host-b' answers in its place" in told.reason


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing at all"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="no JSON"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", id="no object"),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"host":"host-b"}', id="half a page"
        ),
        pytest.param(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}", id="no such page"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
            id="a bottomless nest",
        ),
        pytest.param(
            b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
            id="a bottomless nest of an error",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", id="a page cut off"),
    ],
)
def test_whatever_answers_in_its_place_is_no_kernel(world: World, answer: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        registered(world, f":{server.getsockname()[1]}")
        assert not_told(world).reason
        thread.join(PATIENCE)


def test_who_accepts_and_says_nothing_is_not_waited_for(world: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        registered(world, f":{server.getsockname()[1]}")
        began = SYSTEM_CLOCK.monotonic()
        assert not_told(world).reason
        assert SYSTEM_CLOCK.monotonic() - began < WITHIN + 1
