"""What is committed reads back equal, so that an unchanged host has no plan."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from calico.dataplane.changes import CommitTable
from calico.dataplane.nft.expr import ACCEPT, dropping, rule
from calico.dataplane.nft.library import NftTable
from calico.dataplane.nft.split import Room
from calico.dataplane.nft.table import Table
from calico.dataplane.render.host import render_host
from calico.dataplane.state import BaseHook, Chain, NftSet
from calico.errors import DataplaneError, DataplaneUnsupported
from tests.dataplane_worlds import commit, commit_of
from tests.kernel.tables import TABLE_CONFIG, WORLD

AnyTable = NftTable | Table


@pytest.fixture
def another_program(host_network: None) -> Iterator[NftTable]:
    opened = NftTable()
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(params=["libnftables alone", "by the quickest door", "in small steps"])
def table(request: pytest.FixtureRequest, host_network: None) -> Iterator[AnyTable]:
    opened: AnyTable
    match request.param:
        case "libnftables alone":
            opened = NftTable()
        case "by the quickest door":
            opened = Table()
        case _:
            opened = Table(Room(any=1500, elements=120))
    opened.open()
    yield opened
    opened.close()


END = Chain("end", (dropping(),))


def test_a_host_without_our_table_reads_as_empty(table: AnyTable) -> None:
    assert table.read() == ({}, {})


def test_the_rendered_table_reads_back_equal(table: AnyTable) -> None:
    state = render_host(WORLD, TABLE_CONFIG).state
    table.commit(commit_of(state))
    assert table.read() == (state.chains, state.sets)


@pytest.mark.parametrize(
    "each",
    [
        pytest.param(NftSet("s", ("ipv4_addr",), frozenset({"10.0.0.1", "10.0.0.2"})), id="plain"),
        pytest.param(
            NftSet("s", ("ipv6_addr",), frozenset({"fd00::1", "::ffff:10.0.0.1", "1:0:2::"})),
            id="plain IPv6",
        ),
        pytest.param(
            NftSet(
                "s",
                ("ipv4_addr",),
                frozenset(
                    {
                        "10.0.0.1",
                        ("prefix", "10.1.0.0", 16),
                        ("prefix", "10.3.0.0", 17),
                        ("range", "10.4.0.1", "10.4.0.6"),
                    }
                ),
                interval=True,
            ),
            id="intervals",
        ),
        pytest.param(
            NftSet(
                "s",
                ("inet_service",),
                frozenset({53, ("range", 31000, 32000)}),
                interval=True,
            ),
            id="ports",
        ),
        pytest.param(
            NftSet(
                "s",
                ("ifname", "ether_addr", "ipv4_addr"),
                frozenset({("concat", "cali1", "02:00:00:00:00:0a", "10.0.0.1")}),
            ),
            id="concatenation",
        ),
        pytest.param(
            NftSet("s", ("ifname",), frozenset({("cali1", ("goto", "end"))}), verdicts=True),
            id="verdicts by interface",
        ),
        pytest.param(
            NftSet(
                "s",
                ("ipv6_addr",),
                frozenset({("fd00::1", ("goto", "end")), ("fd00::2", ("drop",))}),
                verdicts=True,
            ),
            id="verdicts by address",
        ),
    ],
)
def test_every_kind_of_set_reads_back_equal(table: AnyTable, each: NftSet) -> None:
    table.commit(commit([END], [each]))
    assert table.read()[1] == {"s": each}


def test_only_the_difference_of_a_set_is_sent_and_the_result_is_exact(
    table: AnyTable,
) -> None:
    before = NftSet("s", ("ipv4_addr",), frozenset({"10.0.0.1", "10.0.0.2"}))
    after = replace(before, elements=frozenset({"10.0.0.2", "10.0.0.3"}))
    table.commit(commit([], [before]))
    table.commit(CommitTable(sets=(after,), previous_sets=(before,)))
    assert table.read()[1] == {"s": after}


def test_an_interval_set_changes_to_one_that_overlaps_it(table: AnyTable) -> None:
    before = NftSet("s", ("ipv4_addr",), frozenset({("prefix", "10.0.0.0", 16)}), interval=True)
    after = replace(before, elements=frozenset({("prefix", "10.0.0.0", 8), "11.0.0.1"}))
    table.commit(commit([], [before]))
    table.commit(CommitTable(sets=(after,), previous_sets=(before,)))
    assert table.read()[1] == {"s": after}


def test_a_task_moves_from_a_chain_that_goes_to_one_that_comes(table: AnyTable) -> None:
    other = Chain("other", (rule(ACCEPT),))
    before = NftSet("s", ("ifname",), frozenset({("cali1", ("goto", "end"))}), verdicts=True)
    after = replace(before, elements=frozenset({("cali1", ("goto", "other"))}))
    table.commit(commit([END], [before]))
    table.commit(
        CommitTable(
            chains=(other,), sets=(after,), previous_sets=(before,), removed_chains=("end",)
        )
    )
    assert table.read() == ({"other": other}, {"s": after})


def test_a_map_and_the_chain_it_names_go_together(table: AnyTable) -> None:
    gone = NftSet("s", ("ifname",), frozenset({("cali1", ("goto", "end"))}), verdicts=True)
    table.commit(commit([END], [gone]))
    table.commit(CommitTable(removed_chains=("end",), removed_sets=("s",)))
    assert table.read() == ({}, {})


def test_a_refused_commit_changes_nothing(table: AnyTable) -> None:
    state = render_host(WORLD, TABLE_CONFIG).state
    table.commit(commit_of(state))
    broken = NftSet("late", ("ifname",), frozenset({("cali1", ("goto", "nowhere"))}), verdicts=True)
    with pytest.raises(DataplaneError, match="No such file"):
        table.commit(commit([END], [broken]))
    assert table.read() == (state.chains, state.sets)


def test_a_foreign_rule_and_a_changed_policy_show_and_are_mended(
    table: AnyTable, another_program: NftTable
) -> None:
    closed = Chain("forward", (dropping(),), BaseHook("filter", "forward", 0, "drop"))
    table.commit(commit([closed]))
    opened = replace(closed, rules=(), base=BaseHook("filter", "forward", 0, "accept"))
    table.commit(commit([opened]))
    another_program._run(  # what an operator could do with nft
        '{"nftables":[{"insert":{"rule":{"family":"inet","table":"marathon-calico",'
        '"chain":"forward","expr":[{"accept":null}]}}}]}'
    )
    (found,) = table.read()[0].values()
    assert found.base == opened.base
    assert found.rules != closed.rules
    table.commit(commit([closed]))
    assert table.read()[0] == {"forward": closed}


def test_a_flushed_ruleset_reads_as_empty_and_is_rebuilt_at_once(
    table: AnyTable, another_program: NftTable
) -> None:
    state = render_host(WORLD, TABLE_CONFIG).state
    table.commit(commit_of(state))
    another_program._run('{"nftables":[{"flush":{"ruleset":null}}]}')
    assert table.read() == ({}, {})
    table.commit(commit_of(state))
    assert table.read() == (state.chains, state.sets)


def test_a_missing_library_names_the_package() -> None:
    with pytest.raises(DataplaneUnsupported, match="install the package libnftables1"):
        NftTable("libnftables-that-is-not-there.so").open()


def test_ten_thousand_elements_are_one_commit_or_a_clear_refusal(table: AnyTable) -> None:
    many = NftSet("s", ("ipv4_addr",), frozenset(f"10.{n >> 8}.{n & 255}.1" for n in range(10_000)))
    table.commit(commit([], [many]))
    assert table.read()[1] == {"s": many}
