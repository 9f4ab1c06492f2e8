"""Which versions of Marathon the stand-in knows."""

import pytest

from demo.marathon.era import Era, parse_era


@pytest.mark.parametrize(
    ("text", "era"),
    [
        pytest.param("1.4", Era(1, 4), id="a line"),
        pytest.param("1.3.6", Era(1, 3, 6), id="one of a line"),
        pytest.param("1.3.14", Era(1, 3, 14), id="the last of a line"),
        pytest.param(Era(1, 9).version, Era(1, 9, 109), id="as it names itself"),
    ],
)
def test_a_version_that_was_given_out_is_an_era(text: str, era: Era) -> None:
    assert parse_era(text) == era


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("0.1", "one of 0.14, 0.15, 1.1,", id="before all"),
        pytest.param("2.0", "one of 0.14, 0.15, 1.1,", id="after all"),
        pytest.param("1.2", "one of 0.14, 0.15, 1.1,", id="between"),
        pytest.param("1.3.15", "1.3 ends with 1.3.14", id="behind the last of a line"),
        pytest.param("1", "one of 0.14,", id="half"),
        pytest.param("1.x", "one of 0.14,", id="no number"),
        pytest.param("1.-4", "one of 0.14,", id="a sign"),
        pytest.param("1.4.1.2", "one of 0.14,", id="four numbers"),
    ],
)
def test_any_other_is_refused_with_those_that_are_known(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="is no") as refused:
        parse_era(text)

    assert repr(text) in str(refused.value)
    assert says in str(refused.value)
