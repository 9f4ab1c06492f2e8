"""Whom a tiered policy closes, by the labels of endpoints and of their profiles."""

from collections.abc import Mapping

import pytest
from netaddr import IPAddress

from calico.closing import policy_reason, selecting_policies
from calico.model import EndpointSpec, HostName, Policy, PolicyId, Profile, ProfileId, TaskId
from calico.names import endpoint_of_task, interface_of
from calico.selector import parse_selector


def endpoint(task: str, *profiles: str, **labels: str) -> EndpointSpec:
    made = endpoint_of_task(HostName("h"), TaskId(task))
    return EndpointSpec(
        made,
        interface_of(made),
        None,
        (IPAddress("10.0.0.1"),),
        tuple(map(ProfileId, profiles)),
        tuple(labels.items()),
    )


def profile(name: str, **labels: str) -> Profile:
    return Profile(ProfileId(name), labels=tuple(labels.items()))


def policies(**selectors: str) -> Mapping[PolicyId, Policy]:
    names = {PolicyId("default", name): text for name, text in selectors.items()}
    return {name: Policy(name, parse_selector(text)) for name, text in names.items()}


PROFILES = {
    each.id: each for each in (profile("db", role="db"), profile("both", role="web", env="test"))
}


@pytest.mark.parametrize(
    ("spec", "selected"),
    [
        pytest.param(endpoint("t"), False, id="without labels"),
        pytest.param(endpoint("t", role="db"), True, id="its own label"),
        pytest.param(endpoint("t", "db"), True, id="its profile's label"),
        pytest.param(endpoint("t", "db", role="web"), False, id="its own label wins"),
        pytest.param(endpoint("t", "db", "both"), True, id="the first profile wins"),
        pytest.param(endpoint("t", "both", "db"), False, id="not the second"),
        pytest.param(endpoint("t", "absent"), False, id="a profile that is absent"),
    ],
)
def test_an_endpoint_is_selected_by_its_labels(spec: EndpointSpec, selected: bool) -> None:
    found = selecting_policies([spec], PROFILES, policies(database="role == 'db'"))
    assert found == ({spec.id: (PolicyId("default", "database"),)} if selected else {})


def test_only_those_that_are_selected_are_named_with_every_policy_that_does() -> None:
    plain, database = endpoint("plain"), endpoint("database", role="db")
    given = policies(second="all()", first="role == 'db'", third="role == 'web'")
    assert selecting_policies([plain, database], {}, given) == {
        plain.id: (PolicyId("default", "second"),),
        database.id: (PolicyId("default", "first"), PolicyId("default", "second")),
    }


def test_without_policies_nobody_is_closed() -> None:
    assert selecting_policies([endpoint("t")], PROFILES, {}) == {}


def test_the_reason_names_the_policies() -> None:
    reason = policy_reason([PolicyId("default", "a"), PolicyId("top", "b")])
    assert reason.startswith("tiered policy default/a, top/b selects it")
