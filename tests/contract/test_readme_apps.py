"""README's apps are what a Marathon takes as they are, and ask for what README says."""

import json

import pytest

from demo.marathon import Era
from marathon_client.client import MarathonClient
from marathon_client.models import AppId
from reconciler.core.tasks.declared import our_network, task_network
from reconciler.core.tasks.profiles import NetworkPolicy
from tests.contract.stand_in.era_world import marathon_of
from tests.pages import blocks

POLICY = NetworkPolicy()
#: In README's order.
FORMS = ("ipAddress", "networks")


def test_readme_has_an_app_of_each_form() -> None:
    apps = [json.loads(each) for each in blocks("README.md", "json")]
    assert [form for app in apps for form in FORMS if form in app] == list(FORMS)


@pytest.mark.parametrize(
    ("form", "era"),
    [
        pytest.param("ipAddress", Era(0, 15), id="ipAddress in 0.15"),
        pytest.param("ipAddress", Era(1, 4), id="ipAddress in 1.4"),
        pytest.param("networks", Era(1, 5), id="networks in 1.5"),
        pytest.param("networks", Era(1, 9), id="networks in 1.9"),
    ],
)
def test_an_app_of_readme_is_taken_as_it_is_and_is_ours(form: str, era: Era) -> None:
    (text,) = (each for each in blocks("README.md", "json") if f'"{form}"' in each)
    with marathon_of(era) as marathon:
        marathon.start(json.loads(text))
        app = MarathonClient([marathon.url]).app(AppId("/shop/web"))

    assert app is not None
    network = our_network(app, POLICY)
    assert network is not None
    assert len(app.tasks) == 2
    wanted = task_network(app, network, app.tasks[0], POLICY)
    assert (wanted.groups, wanted.remark, wanted.refusal) == (("shop",), "", "")
    assert [(port.protocol, port.number, port.name) for port in wanted.ports] == [
        ("tcp", 8080, "http")
    ]
