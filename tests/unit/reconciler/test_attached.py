"""Which reported addresses a task takes over, and why not the others."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import CONTAINER, ON_HOST, OWNER, RUNS, Allocation
from calico.model import Attachment, ContainerId, HandleId, HostName, Pool, TaskId, TaskVerdict
from calico.names import handle_of_container
from marathon_client.models import App, AppNetwork, NetworkForm, NetworkMode, Task, TaskState
from reconciler.core.desired import DesiredTask, addresses_needed, desired_tasks
from reconciler.core.tasks.attached import NOT_REPORTED, Preallocated
from reconciler.core.tasks.profiles import NetworkPolicy
from reconciler.core.tasks.wishes import AnyAddress, ContainerAddresses, FixedAddresses
from tests.unit.reconciler.apps import HOST, HOSTS, V1, app, network, task

POLICY = NetworkPolicy()
POOLS = (Pool(IPNetwork("10.1.0.0/24")), Pool(IPNetwork("fd80::/64")))
BOX, OTHER_BOX = ContainerId("box-1"), ContainerId("box-2")
FOUR, SIX, FOREIGN = IPAddress("10.1.0.7"), IPAddress("fd80::7"), IPAddress("172.31.0.1")
NAMED, UNNAMED = network("g", name="calico"), network("g")


def given_to(
    box: ContainerId, host: str = "h1", handle: str | None = None, runs: str = "t"
) -> Allocation:
    """What an agent allocates for a container, or what a task claimed of that."""
    holder = handle_of_container(box) if handle is None else HandleId(handle)
    marks = (OWNER, (CONTAINER, box), (ON_HOST, host), (RUNS, runs))
    return Allocation(holder, marks if runs else marks[:-1])


def reporting(*addresses: IPAddress, name: str = "t") -> Task:
    return replace(task(name), addresses=addresses)


def preallocated(
    held: dict[IPAddress, Allocation | str | None] | None = None, *attachments: Attachment
) -> Preallocated:
    return Preallocated(POOLS, held or {}, {HOST.name: attachments})


def judged(net: AppNetwork, one: Task, known: Preallocated, **changes: object) -> DesiredTask:
    hosts = {HOST.name: replace(HOST, **changes)}
    (desired,) = desired_tasks(app(one, net=net), {}, {}, hosts, POLICY, known)
    return desired


@pytest.mark.parametrize("net", [NAMED, UNNAMED], ids=["named network", "unnamed ipAddress"])
def test_a_reported_address_of_ours_is_taken_over_with_its_container(net: AppNetwork) -> None:
    desired = judged(net, reporting(FOUR), preallocated({FOUR: given_to(BOX)}))
    assert desired.wish == ContainerAddresses(BOX)
    assert desired.record.verdict is TaskVerdict.ACCEPTED
    assert desired.record.container == BOX
    assert desired.record.reason == ""
    assert desired.profiles


def test_what_this_task_claimed_before_is_its_own() -> None:
    held: dict[IPAddress, Allocation | str | None] = {
        FOUR: given_to(BOX, handle="t"),
        SIX: given_to(BOX),
    }
    desired = judged(NAMED, reporting(FOUR, SIX), preallocated(held))
    assert desired.wish == ContainerAddresses(BOX)


def test_of_several_networks_the_address_that_is_ours_counts() -> None:
    nets = (
        network("x", name="other", form=NetworkForm.NETWORKS),
        network("g", name="calico", form=NetworkForm.NETWORKS),
    )
    made = replace(app(reporting(FOREIGN, FOUR)), networks=nets)
    known = preallocated({FOUR: given_to(BOX)})
    (desired,) = desired_tasks(made, {}, {}, HOSTS, POLICY, known)
    assert desired.wish == ContainerAddresses(BOX)
    assert desired.record.groups == ("g",)


@pytest.mark.parametrize(
    ("held", "why"),
    [
        pytest.param(None, "10.1.0.7 is held by nobody", id="nobody holds it"),
        pytest.param(
            given_to(BOX, host="h2"), "given out on host h2, not on h1", id="of another host"
        ),
        pytest.param(
            given_to(BOX, handle="other.1"), "that of other.1 already", id="another task claimed it"
        ),
        pytest.param(
            Allocation(HandleId("other.1"), (OWNER,)),
            "that of other.1 already",
            id="another task was given it",
        ),
        pytest.param(
            Allocation(HandleId("k8s-pod"), ()), "is foreign: k8s-pod holds it", id="not ours"
        ),
        pytest.param(
            Allocation(handle_of_container(BOX), ((CONTAINER, BOX), (ON_HOST, "h1"))),
            "is foreign",
            id="a container's of another writer",
        ),
        pytest.param(Allocation(None, ()), "an unnamed owner holds it", id="without a name"),
    ],
)
@pytest.mark.parametrize("net", [NAMED, UNNAMED], ids=["named", "unnamed"])
def test_an_address_of_the_pools_that_is_not_the_task_s_is_refused_with_the_reason(
    held: Allocation | None, why: str, net: AppNetwork
) -> None:
    desired = judged(net, reporting(FOUR), preallocated({FOUR: held}))
    assert desired.wish is None
    assert desired.record.verdict is TaskVerdict.REFUSED
    assert why in desired.record.reason
    assert desired.record.container == ""


def test_a_foreign_address_on_a_named_network_is_refused() -> None:
    desired = judged(NAMED, reporting(FOREIGN), preallocated())
    assert desired.record.verdict is TaskVerdict.REFUSED
    assert desired.record.reason == (
        "reported address 172.31.0.1 is foreign: none of the pools has it"
    )


def test_what_an_unnamed_network_reports_may_be_the_host_s_own_address() -> None:
    # Mesos 0.26 and later fill in the agent's address where no plugin gave one.
    assert judged(UNNAMED, reporting(FOREIGN), preallocated()).wish == AnyAddress()


def test_a_block_that_cannot_be_read_makes_its_task_wait() -> None:
    desired = judged(NAMED, reporting(FOUR), preallocated({FOUR: "its block cannot be read: x"}))
    assert desired.record.verdict is TaskVerdict.PENDING
    assert desired.record.reason == "reported address 10.1.0.7: its block cannot be read: x"


def test_addresses_of_two_containers_belong_to_no_task() -> None:
    held: dict[IPAddress, Allocation | str | None] = {FOUR: given_to(BOX), SIX: given_to(OTHER_BOX)}
    desired = judged(NAMED, reporting(FOUR, SIX), preallocated(held))
    assert desired.record.verdict is TaskVerdict.REFUSED
    assert "box-1, box-2" in desired.record.reason


ATTACHED = Attachment(BOX, (FOUR, SIX), task="t")


@pytest.mark.parametrize(
    ("net", "locators", "attachments", "outcome"),
    [
        pytest.param(NAMED, ("mesos",), (), NOT_REPORTED, id="named waits, whatever the locators"),
        pytest.param(UNNAMED, (), (), NOT_REPORTED, id="unnamed waits where nobody looks"),
        pytest.param(UNNAMED, ("mesos",), (), AnyAddress(), id="unnamed is given one"),
        pytest.param(UNNAMED, None, (), AnyAddress(), id="and by an agent that does not tell"),
        pytest.param(
            UNNAMED, ("mesos",), (ATTACHED,), ContainerAddresses(BOX), id="unless it was attached"
        ),
        pytest.param(
            UNNAMED, (), (ATTACHED,), ContainerAddresses(BOX), id="also where nobody looks"
        ),
        pytest.param(
            NAMED, (), (ATTACHED,), ContainerAddresses(BOX), id="named, known by its host alone"
        ),
        pytest.param(
            UNNAMED,
            (),
            (replace(ATTACHED, task="another"), replace(ATTACHED, task="")),
            NOT_REPORTED,
            id="another task's attachment is not its own",
        ),
        pytest.param(
            NAMED,
            (),
            (replace(ATTACHED, task="marathon-t"),),
            ContainerAddresses(BOX),
            id="its executor's attachment is",
        ),
        pytest.param(
            UNNAMED,
            ("mesos",),
            (ATTACHED, Attachment(OTHER_BOX, (FOUR,), task="marathon-t")),
            "h1 tells of several containers of it: box-1, box-2",
            id="of two that are told to be its own it has neither",
        ),
    ],
)
def test_a_task_without_a_reported_address(
    net: AppNetwork,
    locators: tuple[str, ...] | None,
    attachments: tuple[Attachment, ...],
    outcome: object,
) -> None:
    desired = judged(net, reporting(), preallocated({}, *attachments), locators=locators)
    if isinstance(outcome, str):
        assert desired.wish is None
        assert (desired.record.verdict, desired.record.reason) == (TaskVerdict.PENDING, outcome)
    else:
        assert desired.wish == outcome


def test_what_is_reported_wins_over_what_the_host_tells() -> None:
    known = preallocated({FOUR: given_to(BOX)}, Attachment(OTHER_BOX, (SIX,), task="t"))
    assert judged(UNNAMED, reporting(FOUR), known).wish == ContainerAddresses(BOX)


UUID, UUID_2 = "8e9e8d1c-0000-4000-8000-000000000001", "8e9e8d1c-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("told", "name", "refused"),
    [
        pytest.param("t", "t", False, id="the task itself"),
        pytest.param("marathon-t", "t", False, id="the task's own executor"),
        pytest.param(
            f"instance-cache.{UUID}", f"cache.instance-{UUID}", False, id="executor of a pod"
        ),
        pytest.param(
            f"instance-cache.{UUID}", f"cache.instance-{UUID}.2", False, id="of its second round"
        ),
        pytest.param(
            f"instance-cache.{UUID}", f"cache.instance-{UUID}._app.1", False, id="of an instance"
        ),
        pytest.param("victim.1", "t", True, id="another task"),
        pytest.param("a.t", "t", True, id="a task whose id ends alike"),
        pytest.param(f"instance-cache.{UUID}", "t", True, id="a pod"),
        pytest.param(
            f"instance-cache.{UUID}", f"cache.instance-{UUID_2}", True, id="its other instance"
        ),
        pytest.param(
            f"instance-cache.{UUID}",
            f"cache.instance-{UUID}.{UUID_2}",
            True,
            id="an app that is called like an instance",
        ),
    ],
)
@pytest.mark.parametrize("by", ["the mark", "its record"])
def test_a_container_is_taken_over_only_by_whom_its_host_names(
    told: str, name: str, refused: bool, by: str
) -> None:
    if by == "the mark":
        known = preallocated({FOUR: given_to(BOX, runs=told)})
    else:
        known = preallocated({FOUR: given_to(BOX, runs="")}, Attachment(BOX, (FOUR,), task=told))
    desired = judged(UNNAMED, reporting(FOUR, name=name), known)
    assert desired.wish == (None if refused else ContainerAddresses(BOX))
    if refused:
        assert (desired.record.verdict, desired.record.reason) == (
            TaskVerdict.REFUSED,
            f"reported address 10.1.0.7 is that of container box-1, in which {told} runs"
            " by the word of h1",
        )


@pytest.mark.parametrize("locators", [("mesos",), ()], ids=["found by locators", "or not"])
def test_a_container_of_which_nobody_tells_yet_makes_who_reports_it_wait(
    locators: tuple[str, ...],
) -> None:
    known = preallocated({FOUR: given_to(BOX, runs="")}, Attachment(BOX, (FOUR,)))
    record = judged(UNNAMED, reporting(FOUR), known, locators=locators).record
    assert (record.verdict, record.reason) == (
        TaskVerdict.PENDING,
        "the Mesos agent of h1 has not told yet which task runs in container box-1",
    )


def test_what_a_task_has_of_a_container_needs_no_word_any_more() -> None:
    known = preallocated({FOUR: given_to(BOX, handle="t", runs="")})
    assert judged(NAMED, reporting(FOUR), known).wish == ContainerAddresses(BOX)


@pytest.mark.parametrize(
    ("label", "reported", "remark"),
    [
        pytest.param("['10.1.0.7']", (FOUR,), "", id="it was given"),
        pytest.param("['10.1.0.7']", (SIX,), "", id="its family is not reported"),
        pytest.param(
            "['10.1.0.9']",
            (FOUR,),
            "fixed address 10.1.0.9 was not given: the task has 10.1.0.7",
            id="another was given",
        ),
    ],
)
def test_fixed_addresses_must_agree_with_what_was_reported(
    label: str, reported: tuple[IPAddress, ...], remark: str
) -> None:
    net = network("g", name="calico", labels=(("ipv4_addrs", label),))
    known = preallocated(dict.fromkeys(reported, given_to(BOX)))
    desired = judged(net, reporting(*reported), known)
    assert isinstance(desired.wish, ContainerAddresses)
    assert desired.wish.container == BOX
    assert len(desired.wish.fixed) == 1
    assert (desired.record.verdict, desired.record.reason) == (TaskVerdict.ACCEPTED, remark)


def test_an_address_that_we_gave_ourselves_may_be_reported_later() -> None:
    held: dict[IPAddress, Allocation | str | None] = {FOUR: Allocation(HandleId("t"), (OWNER,))}
    assert judged(UNNAMED, reporting(FOUR), preallocated(held)).wish == AnyAddress()
    net = network("g", labels=(("ipv4_addrs", "['10.1.0.7']"),))
    assert judged(net, reporting(FOUR), preallocated(held)).wish == FixedAddresses((FOUR,))


def test_what_was_claimed_stays_claimed_whatever_is_reported_by_now() -> None:
    record = judged(NAMED, reporting(FOUR), preallocated({FOUR: given_to(BOX)})).record
    late = app(replace(reporting(FOREIGN), state=TaskState.UNREACHABLE), net=NAMED)
    (desired,) = desired_tasks(late, {}, {TaskId("t"): record}, HOSTS, POLICY, preallocated())
    assert desired.record == record
    assert desired.wish == ContainerAddresses(BOX)


def test_only_addresses_that_decide_something_are_asked_for() -> None:
    record = judged(NAMED, reporting(FOUR), preallocated({FOUR: given_to(BOX)})).record
    made = app(reporting(FOUR), reporting(SIX, name="u"), net=NAMED)
    assert addresses_needed(made, {}, {TaskId("t"): record}, POLICY) == {SIX}
    host_mode = replace(app(reporting(FOREIGN)), networks=())
    assert addresses_needed(host_mode, {}, {}, POLICY) == frozenset()
    staging = app(replace(reporting(FOUR), state=TaskState.STAGING), net=NAMED)
    assert addresses_needed(staging, {}, {}, POLICY) == frozenset()


def test_an_old_task_is_judged_by_the_network_of_its_own_version() -> None:
    old = replace(reporting(FOUR), version=V1)
    changed: App = replace(
        app(old, net=network("g", mode=NetworkMode.BRIDGE)),
        version="2016-01-01T00:00:02.000Z",
        config_version="2016-01-01T00:00:02.000Z",
    )
    versions = {V1: app(net=NAMED)}
    assert addresses_needed(changed, versions, {}, POLICY) == {FOUR}
    known = preallocated({FOUR: given_to(BOX)})
    (desired,) = desired_tasks(changed, versions, {}, HOSTS, POLICY, known)
    assert desired.wish == ContainerAddresses(BOX)


def test_no_host_is_waited_for_before_one_is_registered() -> None:
    lost = replace(reporting(FOUR), host="elsewhere")
    elsewhere = HostName("elsewhere")
    known = Preallocated(POOLS, {FOUR: given_to(BOX, host=elsewhere)}, {elsewhere: ()})
    (desired,) = desired_tasks(app(lost, net=NAMED), {}, {}, HOSTS, POLICY, known)
    assert desired.record.verdict is TaskVerdict.PENDING
    assert desired.record.reason == "no agent registered as elsewhere"
