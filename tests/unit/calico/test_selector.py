"""Selectors, as both families of Calico read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.errors import InvalidValue
from calico.selector import AllOf, AnyOf, HasLabel, Not, OneOf, Selector, parse_selector, selects

DB = {"role": "db", "env": "prod", "a.b/c-d_e": "x"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        pytest.param("role == 'db'", True, id="equal"),
        pytest.param('role == "db"', True, id="double quotes"),
        pytest.param("role=='db'", True, id="without spaces"),
        pytest.param("role == 'web'", False, id="another value"),
        pytest.param("zone == 'db'", False, id="equal needs the label"),
        pytest.param("role == ''", False, id="an absent label is no empty value"),
        pytest.param("role != 'db'", False, id="not equal"),
        pytest.param("role != 'web'", True, id="not equal to another"),
        pytest.param("zone != 'a'", True, id="not equal holds without the label"),
        pytest.param("role in {'web', 'db'}", True, id="in"),
        pytest.param("role in {'web'}", False, id="not in the set"),
        pytest.param("role in {}", False, id="in nothing"),
        pytest.param("zone in {'a'}", False, id="in needs the label"),
        pytest.param("role not in {'web'}", True, id="not in"),
        pytest.param("role not in {'db'}", False, id="not in, but is"),
        pytest.param("zone not in {'a'}", True, id="not in holds without the label"),
        pytest.param("zone notin {'a'} && role notin {'web'}", True, id="not in as one word"),
        pytest.param("role notin{'db'}", False, id="not in as one word, but is"),
        pytest.param("has(role)", True, id="has"),
        pytest.param("has(zone)", False, id="has not"),
        pytest.param("!has(zone)", True, id="not has"),
        pytest.param("has(a.b/c-d_e)", True, id="all characters of a label"),
        pytest.param("all()", True, id="all"),
        pytest.param("", True, id="empty is everything"),
        pytest.param("  ", True, id="blank is everything"),
        pytest.param("!all()", False, id="nothing"),
        pytest.param("role == 'db' && env == 'prod'", True, id="and"),
        pytest.param("role == 'db' && env == 'test'", False, id="and fails"),
        pytest.param("role == 'web' || env == 'prod'", True, id="or"),
        pytest.param("has(zone) && has(zone) || has(role)", True, id="and binds closer than or"),
        pytest.param("has(role) || has(zone) && has(zone)", True, id="also on the right"),
        pytest.param("!(role == 'db' && has(env))", False, id="a negated group"),
        pytest.param("! ! has(role)", True, id="twice negated"),
        pytest.param("in in {'x'} || has(has)", False, id="words as labels"),
    ],
)
def test_a_selector_selects_by_labels(text: str, selected: bool) -> None:
    assert selects(parse_selector(text), DB) is selected


@pytest.mark.parametrize(
    "text",
    [
        "role",
        "role ==",
        "role == db",
        "role == 'db",
        "== 'db'",
        "role = 'db'",
        "role == 'db' &&",
        "role == 'db' env == 'prod'",
        "(role == 'db'",
        "role == 'db')",
        "role in 'db'",
        "role in {'db'",
        "role in {'db',}",
        "role not {'db'}",
        "has()",
        "has('role')",
        "all",
        "role ~ 'd'",
        "rôle == 'db'",
        "(" * 100_000,
        "!" * 100_000 + "all()",
    ],
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="selector"):
        parse_selector(text)


@given(st.text(alphabet="ab(){}'\"!=&|, inothasl", max_size=30) | st.text(max_size=10))
def test_no_text_makes_reading_fail_in_another_way(text: str) -> None:
    try:
        selects(parse_selector(text), DB)
    except InvalidValue:
        return


labels = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["", "x", "y"])
selectors: st.SearchStrategy[Selector] = st.recursive(
    labels.map(HasLabel)
    | st.builds(OneOf, labels, st.frozensets(values, max_size=2))
    | st.just(AllOf()),
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: AllOf(tuple(parts)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: AnyOf(tuple(parts)))
    ),
    max_leaves=8,
)


def written(selector: Selector) -> str:
    """The selector as an operator would write it, with every parenthesis."""
    match selector:
        case HasLabel(label):
            return f"has({label})"
        case OneOf(label, some):
            return f"{label} in {{{', '.join(repr(each) for each in sorted(some))}}}"
        case Not(inner):
            return f"!({written(inner)})"
        case AllOf(parts):
            return " && ".join(f"({written(each)})" for each in parts) or "all()"
        case AnyOf(parts):
            return " || ".join(f"({written(each)})" for each in parts)


@given(selectors, st.dictionaries(labels, values))
def test_what_is_written_is_understood(selector: Selector, carried: dict[str, str]) -> None:
    assert selects(parse_selector(written(selector)), carried) is selects(selector, carried)
