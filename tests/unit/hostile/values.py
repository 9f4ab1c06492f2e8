"""Texts and JSON as nobody means them."""

import json

from hypothesis import strategies as st

#: What has harmed somebody: paths, terminals, rules, headers, numbers, lookalikes.
NASTY = (
    *("../../owned", "..", ".", "/", "a/b", "%2e%2e", "_hidden", "?ttl=1", "#", "a\r\nX: b"),
    *("\x1b[2J\x1b]0;t\x07", "\x9b31m", "a\u202eb", "\u2028", "x\ny", "\0", "\ud800", "café"),
    *("accept; flush ruleset", '"} }', "'; drop", "$(id)", "`id`", "{{x}}", "%s%n", "-o", "--help"),
    *("app-x", "default_h1", "public", "", " ", "a" * 5000, "0x10", "1e309", "-0", "NaN"),
    *("010.1.1.1", "::ffff:10.0.0.1", "10.0.0.1/33", "999999999999999999999", "fe80::1%eth0"),
)
TEXT = st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=()), max_size=30)
#: As a process passes them on, which has replaced what is no Unicode.
WRITTEN = TEXT.map(lambda text: text.encode("utf-8", "replace").decode())
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63), 10**400, 1.5e308, -0.0])
    | TEXT
)


def json_values(*names: str) -> st.SearchStrategy[object]:
    """JSON in which these names stand where they should not as well."""
    key = st.sampled_from(names) | TEXT if names else TEXT
    return st.recursive(
        _LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(key, inner, max_size=4),
        max_leaves=12,
    )


@st.composite
def damaged(draw: st.DrawFn, whole: str) -> str:
    """A value in place of a whole one: cut, foreign, deep, or with a field of another kind."""
    match draw(st.integers(0, 4)):
        case 0:
            return whole[: draw(st.integers(0, max(0, len(whole) - 1)))]
        case 1:
            return draw(WRITTEN)
        case 2:
            return draw(st.sampled_from(["[" * 50_000, '{"a":' * 50_000, "[]", "{}", "null", "0"]))
        case _:
            return _changed(draw, whole)


def _changed(draw: st.DrawFn, whole: str) -> str:
    try:
        value = json.loads(whole)
    except ValueError:
        return json.dumps(draw(json_values()))
    if not isinstance(value, dict) or not value:
        return json.dumps(draw(json_values()))
    name = draw(st.sampled_from(sorted(value)))
    return json.dumps({**value, name: draw(json_values(*value))})
