"""Policy changes of every kind under floods: none opens, or shuts, what it does not name."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import Block
from calico.codec import encode_block, encode_pool
from calico.keys import ProfileLeaf, block_key, endpoint_key, pool_key, profile_key
from calico.model import (
    Action,
    EndpointSpec,
    HostName,
    Match,
    Pool,
    PortRange,
    ProfileId,
    Rule,
    Tag,
)
from tests.counts import Counts
from tests.dataplane_worlds import POOL, group, openings
from tests.kernel.cluster import ONE, PORT, STRANGER, TWO, Cluster, running_cluster, task_of
from tests.kernel.namespaces import Namespace
from tests.kernel.sensors import Connection, Flow, Sensor, flooding
from tests.kernel.test_closed import (
    FOE,
    FOE_THERE,
    FRIEND,
    FRIEND_THERE,
    SETTLED,
    VICTIM,
    VICTIM_THERE,
    address_of,
    is_quiet,
)

EXTRA, APP_RED, RED, BLUE = map(ProfileId, ("extra", "app-red", "red", "blue"))
#: What the red ones open to each other, all the time.
PORTS = range(PORT, PORT + 4)
REDS, BLUES = (20, 21), (24, 25)
HANDED_ON = 30
WANDERER = task_of("wanderer.1", 5, "red")
BLOCK = IPNetwork("10.9.0.0/26")
#: Nothing that these admit comes from a foe, or from a stranger.
HARMLESS = (
    Rule(Action.ALLOW, Match(protocol=6, src_net=IPNetwork("10.88.0.0/16"))),
    Rule(Action.ALLOW, Match(src_tag=Tag("purple"))),
    Rule(Action.DENY, Match(src_tag=Tag("blue"))),
    Rule(Action.DENY, Match(protocol=17, dst_ports=(PortRange(1, 99),))),
    Rule(Action.LOG, Match(src_tag=Tag("blue"), protocol=1), log_prefix="x"),
    Rule(Action.ALLOW, Match(src_tag=Tag("red")), Match(src_net=IPNetwork("0.0.0.0/1"))),
)
LEAVES: tuple[ProfileLeaf, ...] = ("rules", "tags")
BROKEN = ("{", "[]", '{"inbound_rules": [{"colour": 1}]}', '{"inbound_rules": 5}')


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


@dataclass
class Operator:
    """Changes what the datastore says; red keeps reaching red, and nobody else does."""

    cluster: Cluster
    stack: ExitStack
    random: random.Random
    wandering: list[Flow]
    guests: list[EndpointSpec] = field(default_factory=list)
    sensors: dict[str, Sensor] = field(default_factory=dict)
    number: int = 0
    steps: dict[str, int] = field(default_factory=dict)

    def change(self) -> str:
        """Make one change of some kind, and wait until every agent has brought it in."""
        kinds = (
            self.edit_the_group,
            self.reorder_the_openings,
            self.rewrite_the_openings,
            self.tag,
            self.break_or_mend,
            self.remove_or_create,
            self.edit_the_foes,
            self.regroup,
            self.let_come_and_go,
            self.hand_an_address_on,
            self.change_the_pools,
            self.change_the_block,
            self.disturb,
        )
        self.number += 1
        kind = kinds[self.number % len(kinds)]
        self.steps[kind.__name__] = self.steps.get(kind.__name__, 0) + 1
        kind()
        self.cluster.settle()
        return f"{kind.__name__} {self.steps[kind.__name__]}"

    def edit_the_group(self) -> None:
        inbound = tuple(self.random.sample(HARMLESS, self.random.randrange(len(HARMLESS))))
        self.cluster.put_profile(replace(group(RED), inbound=inbound))

    def reorder_the_openings(self) -> None:
        rules = list(openings(APP_RED, RED, *PORTS).inbound)
        self.random.shuffle(rules)
        self.cluster.put_profile(replace(openings(APP_RED, RED), inbound=tuple(rules)))

    def rewrite_the_openings(self) -> None:
        single = tuple(PortRange(port, port) for port in (*range(PORT - 40, PORT, 2), *PORTS))
        ports = self.random.choice((single, (PortRange(PORT - 5, PORT + 5),), ()))
        rules = [
            Rule(Action.ALLOW, Match(protocol=protocol, src_tag=Tag(RED), dst_ports=ports))
            for protocol in (6, 17)
        ]
        rules += openings(APP_RED, RED).inbound[2:]
        rules.insert(self.random.randrange(3), self.random.choice(HARMLESS))
        self.cluster.put_profile(replace(openings(APP_RED, RED), inbound=tuple(rules)))

    def tag(self) -> None:
        tags = (Tag(RED), *map(Tag, self.random.sample(("pink", "white", "rose"), 2)))
        self.cluster.put_profile(replace(group(RED), tags=tags))

    def break_or_mend(self) -> None:
        rules = (*BROKEN, json.dumps({"inbound_rules": [], "outbound_rules": []}))
        self.cluster.store.put(profile_key(EXTRA, "rules"), self.random.choice(rules))

    def remove_or_create(self) -> None:
        if self.random.random() < 0.5:
            for leaf in LEAVES:
                self.cluster.store.delete(profile_key(EXTRA, leaf))
        else:
            inbound = tuple(self.random.sample(HARMLESS, 3))
            self.cluster.put_profile(replace(group(EXTRA), tags=(), inbound=inbound))

    def edit_the_foes(self) -> None:
        inbound = tuple(self.random.sample(HARMLESS, 4))
        tags = self.random.choice(((Tag(BLUE),), (Tag(BLUE), Tag("green")), ()))
        self.cluster.put_profile(replace(group(BLUE), inbound=inbound, tags=tags))

    def regroup(self) -> None:
        """A friend becomes a foe that goes on sending, or a foe becomes a friend."""
        put = self.cluster.put
        if self.steps["regroup"] % 2:
            put(replace(WANDERER, profiles=FOE.profiles))
            self.cluster.settle()
            for flow in self.wandering:
                flow.forbid()
        else:
            for flow in self.wandering:
                flow.permit()
            # What was sent before may be on its way still, and is judged on arrival.
            time.sleep(SETTLED)
            put(WANDERER)

    def let_come_and_go(self) -> None:
        while len(self.guests) > 2:
            self._end(self.guests.pop(0))
        count = self.steps["let_come_and_go"]
        colour, numbers = ("red", REDS) if count % 2 else ("blue", BLUES)
        number = numbers[count // 2 % 2]
        taken = {address_of(each) for each in self.guests}
        guest = task_of(f"guest.{count}", number, colour, (ONE, TWO)[count // 4 % 2])
        for each in [
            each for each in self.guests if address_of(each) in taken & {*guest.addresses}
        ]:
            self.guests.remove(each)
            self._end(each)
        self._begin(guest)
        self.guests.append(guest)

    def hand_an_address_on(self) -> None:
        """A friend keeps sending there: it may reach the one holder, and not the next."""
        count = self.steps["hand_an_address_on"]
        holders = [
            task_of(
                f"holder.{each}", HANDED_ON, ("red", "blue")[each % 2], (ONE, TWO)[each // 2 % 2]
            )
            for each in (count - 1, count)
        ]
        if count > 1:
            self._end(holders[0])
        self._begin(holders[1], watched=bool(count % 2))

    def change_the_pools(self) -> None:
        other = Pool(IPNetwork("10.10.0.0/16"), masquerade=self.random.random() < 0.5)
        if self.random.random() < 0.5:
            self.cluster.store.put(pool_key(other), encode_pool(other))
        else:
            self.cluster.store.delete(pool_key(other))
        changed = replace(POOL, disabled=self.random.random() < 0.5)
        self.cluster.store.put(pool_key(changed), encode_pool(changed))

    def change_the_block(self) -> None:
        """Whose the block is decides by which routes hosts reach each other's tasks."""
        for host in self.random.sample((ONE, TWO, None), 3):
            if host is None:
                self.cluster.store.delete(block_key(BLOCK))
            else:
                block = Block(BLOCK, host, (None,) * 64, tuple(range(64)))
                self.cluster.store.put(block_key(BLOCK), encode_block(block))

    def disturb(self) -> None:
        """What nobody understands, and what nobody asked for."""
        spec = replace(task_of("odd.1", 40, "red"), active=self.random.random() < 0.5)
        self.cluster.put(spec)
        self.cluster.store.put(endpoint_key(task_of("odd.2", 41, "red").id), '{"state": 7}')

    def _begin(self, task: EndpointSpec, *, watched: bool = True) -> None:
        place = self.cluster.task(task)
        if watched:
            self.sensors[task.id.workload] = self.stack.enter_context(Sensor(place))
        self.cluster.put(task)
        self.cluster.wait_up(task.id.workload)

    def _end(self, task: EndpointSpec) -> None:
        name = task.id.workload
        self.cluster.withdraw(task)
        self.cluster.settle()
        if name in self.sensors:
            assert self.sensors.pop(name).forbidden == [], task
        self.cluster[name].keeper.kill()


def addresses(*numbers: int) -> list[IPAddress]:
    return [IPAddress(f"10.9.0.{number}") for number in numbers]


@pytest.mark.soak
def test_no_change_of_policy_lets_a_forbidden_packet_through_or_drops_an_allowed_one(
    cluster: Cluster, counts: Counts
) -> None:
    victims = [replace(each, profiles=(*each.profiles, EXTRA)) for each in (VICTIM, VICTIM_THERE)]
    cluster.put_profile(replace(group(EXTRA), tags=()))
    cluster.put_profile(openings(APP_RED, RED, *PORTS))
    cluster.run_tasks(FRIEND, FRIEND_THERE, FOE, FOE_THERE, WANDERER, *victims)
    ends = [
        (cluster[one.id.workload], cluster[two.id.workload], address_of(two), port)
        for (one, two), port in zip(
            ((FRIEND, VICTIM), (FRIEND, VICTIM_THERE), (FRIEND_THERE, VICTIM)), PORTS, strict=False
        )
    ]
    forbidden = [*map(address_of, victims), *addresses(*REDS)]
    with ExitStack() as stack:
        sensors = [stack.enter_context(Sensor(cluster[each.id.workload])) for each in victims]
        flows = [
            stack.enter_context(Flow(*each, answered=number == 0))
            for number, each in enumerate(ends)
        ]
        connections = [stack.enter_context(Connection(*each)) for each in ends]
        wanderer = cluster["wanderer.1"]
        wandering = [
            stack.enter_context(Flow(wanderer, *each, PORTS[-1], answered=True))
            for each in ((cluster[each.id.workload], address_of(each)) for each in victims)
        ]
        for place, source, targets in (
            (cluster["foe.1"], address_of(FOE), forbidden),
            (cluster["foe.2"], address_of(FOE_THERE), forbidden),
            (cluster["foe.1"], address_of(FRIEND), forbidden),
            (cluster.stranger, STRANGER, [*forbidden, *addresses(*BLUES, HANDED_ON)]),
            (cluster["friend.1"], address_of(FRIEND), addresses(*BLUES, HANDED_ON)),
        ):
            stack.enter_context(flooding(place, source, targets, PORT, 0.003))
        operator = Operator(cluster, stack, random.Random(3), wandering)
        history = []
        for _ in range(counts.changes):
            kind = operator.change()
            history.append((kind, [each.sent for each in flows]))
            seen = [each.forbidden for each in (*sensors, *operator.sensors.values())]
            assert not any(seen), kind
            assert [each.lost for each in flows] == [[]] * len(flows), history[-5:]
        for each in operator.guests:
            operator._end(each)
        assert [each.retransmitted for each in connections] == [0] * len(ends)
        assert all(each.received > counts.changes for each in flows)
        assert all(each.received > counts.changes for each in wandering)


@pytest.mark.parametrize("first", [ONE, TWO])
def test_a_revoked_flow_ends_whichever_host_hears_of_it_first(
    cluster: Cluster, first: HostName
) -> None:
    cluster.put_profile(openings(APP_RED, RED, *PORTS))
    cluster.run_tasks(WANDERER, VICTIM_THERE)
    (second,) = {ONE, TWO} - {first}
    wanderer, victim = cluster["wanderer.1"], cluster["victim.2"]
    with ExitStack() as stack:
        sensors = [stack.enter_context(Sensor(each)) for each in (wanderer, victim)]
        there = wanderer, victim, address_of(VICTIM_THERE)
        back = victim, wanderer, address_of(WANDERER)
        flows = [
            stack.enter_context(Flow(*there, PORTS[0], answered=True)),
            stack.enter_context(Flow(*there, PORTS[1])),
            stack.enter_context(Flow(*back, PORTS[2], answered=True)),
            stack.enter_context(Flow(*back, PORTS[3])),
        ]
        connections = [stack.enter_context(Connection(*each, PORT)) for each in (there, back)]
        cluster.wait_for(
            "flows", lambda: all(each.received > 20 for each in (*flows, *connections))
        )
        with cluster.held(second):
            cluster.put(replace(WANDERER, profiles=FOE.profiles))
            cluster.settle(first)
            # Meanwhile each side goes on, and what it hears it answers.
            time.sleep(SETTLED)
        cluster.settle()
        for each in flows:
            each.forbid()
        assert is_quiet(connections)
        assert [each.forbidden for each in sensors] == [[], []]
