"""The page on names knows every form and every flag."""

import re
from pathlib import Path

import click
import pytest
from netaddr import IPAddress

from calico.model import PortOpening, TaskId
from reconciler.cli.commands.dns import dns
from reconciler.dns.names import NamedTask, names_of, suffixes_of, text_name
from reconciler.dns.serving import streams, upstream
from reconciler.dns.wire import LARGEST_DATAGRAM, TTL

PAGE = (Path(__file__).parents[3] / "docs/dns.md").read_text()
TASK = NamedTask(
    TaskId("star_probe-a.2f8a1c44-5b1e-11e6-8d2b-0242ac110002"),
    "/star/probe-a",
    (IPAddress("192.168.3.4"),),
    (PortOpening("tcp", 9000, "status"),),
    (IPAddress("10.0.0.7"),),
)


@pytest.mark.parametrize("option", [each for each in dns.params if isinstance(each, click.Option)])
def test_every_flag_is_on_the_page(option: click.Option) -> None:
    (flag,) = option.opts
    assert f"`{flag}" in PAGE


def test_every_form_is_on_the_page_and_the_page_has_no_other() -> None:
    table = PAGE.partition("| Name |")[2].partition("\n\n")[0]
    columns = [row.split("|")[1] for row in table.splitlines()[2:]]
    shown = {name for column in columns for name in re.findall(r"`([^`]+)`", column)}
    entries = names_of(TASK, suffixes_of("mesos", "marathon"))
    names = {text_name(name).rstrip(".") for name, _ in entries}
    assert shown - {"mesos", "ns1.mesos", "ip6.arpa"} == names


@pytest.mark.parametrize(
    "figure",
    [
        f"valid for {TTL} seconds",
        f"up to {LARGEST_DATAGRAM:,}",
        f"{streams.MOST} connections are open, {streams.MOST_OF_ONE} of",
        f"after {streams.IDLE:g} idle seconds",
        f"{upstream.MOST} questions are with resolvers, {upstream.MOST_OF_ONE} of one asker",
    ],
)
def test_every_limit_is_on_the_page(figure: str) -> None:
    assert figure in " ".join(PAGE.split())
