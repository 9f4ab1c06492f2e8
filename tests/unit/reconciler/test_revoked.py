"""Whose connections are looked at when the datastore changes."""

from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.model import (
    Action,
    EndpointSpec,
    HostEndpoint,
    HostEndpointId,
    HostName,
    InterfaceName,
    Match,
    Policy,
    PolicyId,
    Profile,
    ProfileId,
    Rule,
    Snapshot,
    Tag,
    TaskId,
)
from calico.names import endpoint_of_task
from calico.selector import OneOf
from reconciler.core.reaching.revoked import Revoked, revoked_addresses

HERE, THERE = HostName("here"), HostName("there")
ALLOW_A = Rule(Action.ALLOW, Match(src_tag=Tag("a")))
ALLOW_B = Rule(Action.ALLOW, Match(src_tag=Tag("b")))
DENY = Rule(Action.DENY)
A = Profile(ProfileId("a"), (Tag("a"),), (), (Rule(Action.ALLOW),))
B = Profile(ProfileId("b"), (Tag("b"),))
APP = Profile(ProfileId("app"), (), (ALLOW_A,))
LOCAL_ADDRESS, REMOTE_ADDRESS = IPAddress("192.168.0.1"), IPAddress("192.168.0.2")


def spec(host: HostName, address: IPAddress, *profiles: Profile) -> EndpointSpec:
    endpoint = endpoint_of_task(host, TaskId(f"task.{host}"))
    names = tuple(profile.id for profile in profiles)
    return EndpointSpec(endpoint, InterfaceName("cali0"), None, (address,), names)


def snapshot(*specs: EndpointSpec, profiles: tuple[Profile, ...] = (A, B, APP)) -> Snapshot:
    return Snapshot(
        specs={each.id: each for each in specs}, profiles={each.id: each for each in profiles}
    )


def gone(address: IPAddress) -> Revoked:
    return Revoked(gone=frozenset({address}))


def narrowed(address: IPAddress) -> Revoked:
    return Revoked(narrowed=frozenset({address}))


LOCAL = spec(HERE, LOCAL_ADDRESS, A, APP)
REMOTE = spec(THERE, REMOTE_ADDRESS, A, B)
BEFORE = snapshot(LOCAL, REMOTE)


@pytest.mark.parametrize(
    ("after", "revoked"),
    [
        pytest.param(snapshot(LOCAL, REMOTE), Revoked(), id="nothing changed"),
        pytest.param(snapshot(LOCAL), gone(REMOTE_ADDRESS), id="a remote task was withdrawn"),
        pytest.param(snapshot(REMOTE), gone(LOCAL_ADDRESS), id="a local task was withdrawn"),
        pytest.param(
            snapshot(LOCAL, replace(REMOTE, active=False)),
            gone(REMOTE_ADDRESS),
            id="a task was made inactive",
        ),
        pytest.param(
            snapshot(LOCAL, spec(THERE, REMOTE_ADDRESS, A)),
            narrowed(REMOTE_ADDRESS),
            id="a remote task left a group",
        ),
        pytest.param(
            snapshot(LOCAL, spec(THERE, IPAddress("192.168.0.9"), A, B)),
            gone(REMOTE_ADDRESS),
            id="a task has another address",
        ),
        pytest.param(
            snapshot(spec(HERE, LOCAL_ADDRESS, A), REMOTE),
            narrowed(LOCAL_ADDRESS),
            id="a local task lost a profile without tags",
        ),
        pytest.param(
            snapshot(spec(HERE, LOCAL_ADDRESS, A, B, APP), REMOTE),
            Revoked(),
            id="a local task joined a group",
        ),
        pytest.param(
            snapshot(LOCAL, REMOTE, profiles=(A, B, replace(APP, inbound=(ALLOW_B, ALLOW_A)))),
            Revoked(),
            id="an allow was added",
        ),
        pytest.param(
            snapshot(LOCAL, REMOTE, profiles=(A, B, replace(APP, inbound=(ALLOW_B,)))),
            narrowed(LOCAL_ADDRESS),
            id="an allow was replaced",
        ),
        pytest.param(
            snapshot(LOCAL, REMOTE, profiles=(A, B, replace(APP, inbound=(DENY, ALLOW_A)))),
            narrowed(LOCAL_ADDRESS),
            id="a deny was put before",
        ),
        pytest.param(
            snapshot(LOCAL, REMOTE, profiles=(A, B, replace(APP, problem="unreadable"))),
            narrowed(LOCAL_ADDRESS),
            id="a profile became unreadable",
        ),
        pytest.param(
            snapshot(LOCAL, REMOTE, profiles=(A, B)), narrowed(LOCAL_ADDRESS), id="a profile went"
        ),
        pytest.param(
            snapshot(LOCAL, REMOTE, profiles=(A, replace(B, tags=()), APP)),
            narrowed(REMOTE_ADDRESS),
            id="a profile lost a tag",
        ),
        pytest.param(
            snapshot(
                spec(HERE, LOCAL_ADDRESS, A, APP),
                replace(REMOTE),
                spec(HostName("new"), IPAddress("192.168.0.7"), A),
            ),
            Revoked(),
            id="a task came",
        ),
    ],
)
def test_only_who_lost_something_is_looked_at(after: Snapshot, revoked: Revoked) -> None:
    assert revoked_addresses(BEFORE, after, HERE) == revoked


def test_joining_a_group_that_is_denied_is_a_loss() -> None:
    shut = replace(APP, inbound=(Rule(Action.DENY, Match(src_tag=Tag("b"))), Rule(Action.ALLOW)))
    profiles = (A, B, shut)
    before = snapshot(LOCAL, spec(THERE, REMOTE_ADDRESS, A), profiles=profiles)

    after = snapshot(LOCAL, REMOTE, profiles=profiles)

    assert revoked_addresses(before, after, HERE) == narrowed(REMOTE_ADDRESS)


def test_joining_a_group_that_is_excepted_from_an_allow_is_a_loss() -> None:
    shut = replace(APP, inbound=(Rule(Action.ALLOW, unless=Match(src_tag=Tag("b"))),))
    profiles = (A, B, shut)
    before = snapshot(LOCAL, spec(THERE, REMOTE_ADDRESS, A), profiles=profiles)

    after = snapshot(LOCAL, REMOTE, profiles=profiles)

    assert revoked_addresses(before, after, HERE) == narrowed(REMOTE_ADDRESS)


POLICY = Policy(PolicyId("default", "web"), OneOf("role", frozenset({"web"})))
LABELLED = replace(LOCAL, labels=(("role", "web"),))


def with_policy(given: Snapshot) -> Snapshot:
    return replace(given, policies={POLICY.id: POLICY})


@pytest.mark.parametrize(
    ("before", "after", "revoked"),
    [
        pytest.param(
            snapshot(LABELLED, REMOTE),
            with_policy(snapshot(LABELLED, REMOTE)),
            narrowed(LOCAL_ADDRESS),
            id="a tiered policy came that selects a local task",
        ),
        pytest.param(
            with_policy(snapshot(LOCAL)),
            with_policy(snapshot(LABELLED)),
            narrowed(LOCAL_ADDRESS),
            id="a label came that a policy selects",
        ),
        pytest.param(
            with_policy(snapshot(LOCAL)),
            with_policy(snapshot(LOCAL, profiles=(replace(A, labels=LABELLED.labels), B, APP))),
            narrowed(LOCAL_ADDRESS),
            id="a profile's label came that a policy selects",
        ),
        pytest.param(
            with_policy(snapshot(LABELLED)), snapshot(LABELLED), Revoked(), id="the policy went"
        ),
        pytest.param(
            snapshot(LOCAL), with_policy(snapshot(LOCAL)), Revoked(), id="it selects another"
        ),
        pytest.param(
            snapshot(LOCAL, replace(REMOTE, labels=LABELLED.labels)),
            with_policy(snapshot(LOCAL, replace(REMOTE, labels=LABELLED.labels))),
            Revoked(),
            id="it selects a task of another host, which closes it",
        ),
    ],
)
def test_whom_a_tiered_policy_closes_loses_what_it_had(
    before: Snapshot, after: Snapshot, revoked: Revoked
) -> None:
    assert revoked_addresses(before, after, HERE) == revoked


HOST_ADDRESS = IPAddress("10.77.0.9")
DENY_B = replace(APP, inbound=(replace(DENY, match=Match(src_tag=Tag("b"))),))


def with_host(given: Snapshot, *profiles: Profile) -> Snapshot:
    found = HostEndpointId(THERE, "eth0")
    names = tuple(profile.id for profile in profiles)
    return replace(given, host_endpoints={found: HostEndpoint(found, (HOST_ADDRESS,), names)})


@pytest.mark.parametrize(
    ("before", "after", "revoked"),
    [
        pytest.param(with_host(BEFORE, A), BEFORE, narrowed(HOST_ADDRESS), id="it went"),
        pytest.param(
            with_host(BEFORE, A), with_host(BEFORE, B), narrowed(HOST_ADDRESS), id="it lost a tag"
        ),
        pytest.param(BEFORE, with_host(BEFORE, A), Revoked(), id="it came"),
        pytest.param(
            snapshot(LOCAL, profiles=(A, B, DENY_B)),
            with_host(snapshot(LOCAL, profiles=(A, B, DENY_B)), B),
            narrowed(HOST_ADDRESS),
            id="it came with a tag that is denied",
        ),
    ],
)
def test_a_host_s_own_interface_loses_what_its_tags_gave(
    before: Snapshot, after: Snapshot, revoked: Revoked
) -> None:
    assert revoked_addresses(before, after, HERE) == revoked
