"""The laws of comparing two states by key."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.diff import Delta, diff

states = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2))


@given(desired=states, observed=states)
def test_carrying_a_delta_out_leads_to_the_desired_state(
    desired: dict[str, int], observed: dict[str, int]
) -> None:
    delta = diff(desired, observed)
    after = {key: value for key, value in observed.items() if key not in delta.deleted}
    after.update({key: desired[key] for key in delta.written})
    assert after == desired


@given(desired=states, observed=states)
def test_every_key_has_one_fate_and_only_if_it_needs_one(
    desired: dict[str, int], observed: dict[str, int]
) -> None:
    delta = diff(desired, observed)
    parts = (delta.created, delta.updated, delta.deleted)
    touched = frozenset().union(*parts)
    assert sum(map(len, parts)) == len(touched)
    assert touched == {
        key for key in desired.keys() | observed.keys() if desired.get(key) != observed.get(key)
    }


@given(state=states)
def test_a_state_differs_from_itself_in_nothing(state: dict[str, int]) -> None:
    nothing: frozenset[str] = frozenset()
    assert diff(state, state) == Delta(nothing, nothing, nothing)


@given(one=states, other=states)
def test_the_way_back_is_the_reverse(one: dict[str, int], other: dict[str, int]) -> None:
    there, back = diff(one, other), diff(other, one)
    assert (there.created, there.updated, there.deleted) == (
        back.deleted,
        back.updated,
        back.created,
    )
