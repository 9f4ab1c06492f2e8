"""Who may see the credentials."""

import pytest

from marathon_client.endpoints import (
    Credentials,
    leader_endpoint,
    parse_endpoint,
    redirect_target,
)
from marathon_client.errors import InvalidUrl

GIVEN = Credentials("ops", "given")
LISTED = [parse_endpoint("http://m1:8080", GIVEN), parse_endpoint("https://m2", GIVEN)]


def test_user_and_password_of_a_url_are_split_off_and_win() -> None:
    endpoint = parse_endpoint("http://me:p%40ss:word@m1:8080/", GIVEN)
    assert endpoint.url == "http://m1:8080"
    assert endpoint.credentials == Credentials("me", "p@ss:word")
    assert "word" not in repr(endpoint)


def test_the_header_is_that_of_http_basic() -> None:
    assert Credentials("Aladdin", "open sesame").authorization == (
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "m1:8080",
        "ftp://m1",
        "http://",
        "http://m1:port",
        "http://m1:99999",
        "http://[::1",
        "http://m1/?a=b",
        "http://u:secret@m1:x/",
        "http://m1/\x1b[2J",
        "http://m1/" + "x" * 1000,
    ],
)
def test_what_names_no_marathon_is_refused_without_telling_a_password(url: str) -> None:
    with pytest.raises(InvalidUrl) as refused:
        parse_endpoint(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("leader", "url", "credentials"),
    [
        pytest.param("m1:8080", "http://m1:8080", GIVEN, id="listed"),
        pytest.param("M1:8080", "http://m1:8080", GIVEN, id="listed, other case"),
        pytest.param("m2:443", "https://m2", GIVEN, id="listed under https"),
        pytest.param("m3:8080", "http://m3:8080", None, id="unlisted"),
        pytest.param("m1:9090", "http://m1:9090", None, id="other port"),
        pytest.param("[fd00::1]:8080", "http://[fd00::1]:8080", None, id="IPv6"),
    ],
)
def test_a_leader_gets_credentials_only_if_listed(
    leader: str, url: str, credentials: Credentials | None
) -> None:
    endpoint = leader_endpoint(leader, LISTED[0], LISTED)
    assert endpoint is not None
    assert (endpoint.url, endpoint.credentials) == (url, credentials)


@pytest.mark.parametrize("leader", ["", "a b:1", "m1:8080/evil", "m1:port", "x/../y", "m?q"])
def test_a_leader_that_is_no_address_is_none(leader: str) -> None:
    assert leader_endpoint(leader, LISTED[0], LISTED) is None


@pytest.mark.parametrize(
    ("location", "url", "credentials"),
    [
        pytest.param("https://m2/v2/events?a=b", "https://m2", GIVEN, id="listed"),
        pytest.param("http://m3:8080/v2/events", "http://m3:8080", None, id="unlisted"),
        pytest.param("http://m2:443/v2/events", "http://m2:443", None, id="no longer encrypted"),
        pytest.param("http://u:p@m3/v2/events", "http://m3", None, id="with a user of its own"),
        pytest.param("/x/v2/events", "http://m1:8080/x", GIVEN, id="relative"),
    ],
)
def test_a_redirect_takes_credentials_along_only_to_listed_origins(
    location: str, url: str, credentials: Credentials | None
) -> None:
    target = redirect_target(location, LISTED[0], LISTED)
    assert target is not None
    assert (target.url, target.credentials) == (url, credentials)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///v2/events",
        "http://[",
        "",
        "http://m3/\x04/v2/events",
    ],
)
def test_a_redirect_to_no_event_stream_leads_nowhere(location: str) -> None:
    target = redirect_target(location, LISTED[0], LISTED)
    assert target is None or target.url == LISTED[0].url
