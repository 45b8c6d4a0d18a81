"""Sources: every way of paging, every format, every login, all the troubles."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import httpx
import pytest
from haulier.pipeline import (
    ApiKey,
    Basic,
    Bearer,
    Cursor,
    LinkHeader,
    NextLink,
    OAuth2,
    Offset,
    PageNumber,
    Paging,
    PipelineError,
    SettingsError,
    Source,
    SourceRefused,
    SourceUnavailable,
    UnexpectedAnswer,
    Watermark,
    http,
)
from haulier.pipeline.http import retry_after

from support.api import CLIENT, Api, Seen, make_records

WAYS: list[tuple[str, Paging]] = [
    ("link", NextLink("links.next")),
    ("header", LinkHeader()),
    ("cursor", Cursor("next")),
    ("page", PageNumber()),
    ("page", PageNumber(size=7)),
    ("page", PageNumber(pages="meta.pages")),
    ("offset", Offset()),
    ("offset", Offset(limit=3)),
    # The source gives ten at most.
    ("offset", Offset(limit=500, total="meta.total")),
]
each_way = pytest.mark.parametrize(("path", "paging"), WAYS)


def ids(records: Any) -> list[int]:
    return [record["id"] for record in records]


@each_way
@pytest.mark.parametrize("count", [0, 1, 10, 25])
def test_paging(api: Api, path: str, paging: Paging, count: int) -> None:
    api.records = make_records(range(count))
    with Source(api.url, paging=paging, records="data.items") as source:
        assert ids(source.get(path)) == list(range(count))


@each_way
def test_parameters_go_with_every_page(api: Api, path: str, paging: Paging) -> None:
    api.records = make_records(range(25))
    with Source(api.url, paging=paging, records="data.items", params={"shop": "1"}) as source:
        assert len(list(source.get(path, {"kind": "a"}))) == 25
    assert all(seen.params["shop"] == "1" and seen.params["kind"] == "a" for seen in api.seen)


@each_way
def test_paging_goes_on_at_a_position(api: Api, path: str, paging: Paging) -> None:
    api.records = make_records(range(25))
    with Source(api.url, paging=paging, records="data.items") as source:
        first = next(pages := source.get(path).pages())
        taken = ids(first.records)
        pages.close()
        rest = [each for page in source.get(path).pages(position=first.following) for each in ids(page.records)]
    assert taken + rest == list(range(25))


@each_way
def test_troubles_on_the_way_lose_and_repeat_nothing(api: Api, path: str, paging: Paging) -> None:
    api.records = make_records(range(45))
    api.troubles.extend([500, 0, "drop", 0, "cut", 0, 429, "cut"])
    with Source(api.url, paging=paging, records="data.items") as source:
        assert ids(source.get(path)) == list(range(45))
    assert not api.troubles


@pytest.mark.parametrize(("path", "kind"), [("all/ndjson", "ndjson"), ("all/csv", "csv"), ("all/list", "json")])
def test_formats(api: Api, path: str, kind: Any) -> None:
    api.records = make_records(range(25))
    with Source(api.url, format=kind) as source:
        taken = list(source.get(path))
    assert [(int(r["id"]), r["note"], r["country"] or None) for r in taken] == [
        (r["id"], r["note"], r["country"]) for r in api.records
    ]


def test_csv_with_semicolons_quotes_and_lines(api: Api) -> None:
    api.records = [{"id": 1, "updated_at": "x", "country": 'a;"b"', "note": "two\nlines"}]
    with Source(api.url, format="csv") as source:
        (record,) = source.get("all/csv", {"delimiter": ";"})
    assert record == {"id": "1", "updated_at": "x", "country": 'a;"b"', "note": "two\nlines"}


def test_csv_pages(api: Api) -> None:
    api.records = make_records(range(25))
    with Source(api.url, format="csv", paging=Offset()) as source:
        assert [int(n) for n in ids(source.get("offset/csv"))] == list(range(25))


def test_xml(api: Api) -> None:
    api.records = [{"id": 1, "updated_at": "x", "note": "a < b"}]
    with Source(api.url, format="xml", records="orders.list.order") as source:
        assert list(source.get("all/xml")) == [{"@id": "1", "updated_at": "x", "note": "a < b", "line": ["1", "2"]}]


def test_a_large_xml_answer_is_not_kept_in_memory(api: Api) -> None:
    api.records = make_records(range(20_000))
    with Source(api.url, format="xml", records="orders.list.order") as source:
        assert sum(1 for _ in source.get("all/xml")) == 20_000


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"paging": Cursor("next")}, "cursor", "data, meta, next"),
        ({"paging": Cursor("next"), "records": "items"}, "cursor", "without 'items'"),
        ({"records": "meta.total"}, "link", "no list"),
        ({"format": "csv", "paging": Cursor("next")}, "all/csv", "not JSON"),
        ({}, "all/csv", "not JSON"),
        ({"format": "xml", "records": "a.b"}, "all/list", "not XML"),
        ({"format": "ndjson"}, "all/csv", "line 1"),
        ({"paging": Offset(total="nowhere"), "records": "data.items"}, "offset", "nowhere"),
        ({"max_bytes": 10}, "all/list", "10 bytes"),
    ],
)
def test_an_answer_of_another_form_is_told(api: Api, settings: dict[str, Any], path: str, words: str) -> None:
    api.records = make_records(range(12))
    with Source(api.url, **settings) as source, pytest.raises(UnexpectedAnswer, match=words):
        list(source.get(path))


def test_paging_that_never_ends_is_noticed(api: Api) -> None:
    api.records = make_records(range(12))
    source = Source(api.url, paging=Cursor("meta.total"), records="data.items")
    with source, pytest.raises(UnexpectedAnswer, match="never end"):
        list(source.get("link"))


def test_the_login_does_not_go_elsewhere(api: Api) -> None:
    api.records = make_records(range(12))
    with Api(records=make_records(range(30))) as other:
        with Source(api.url, paging=NextLink("data.items.0.note"), records="data.items", auth="s3cret") as source:
            api.records[0]["note"] = f"{other.url}/link"
            with pytest.raises(UnexpectedAnswer, match="login is not sent"):
                list(source.get("link"))
        assert other.seen == []


@pytest.mark.parametrize(
    ("auth", "is_right"),
    [
        ("t0ken", lambda seen: seen.headers.get("authorization") == "Bearer t0ken"),
        (Bearer("t0ken"), lambda seen: seen.headers.get("authorization") == "Bearer t0ken"),
        (Basic("user", "pass"), lambda seen: seen.headers.get("authorization") == "Basic dXNlcjpwYXNz"),
        (ApiKey("k3y"), lambda seen: seen.headers.get("x-api-key") == "k3y"),
        (ApiKey("k3y", header="Key"), lambda seen: seen.headers.get("key") == "k3y"),
        (ApiKey("k3y", query="key"), lambda seen: seen.params.get("key") == "k3y"),
    ],
)
def test_logins(api: Api, auth: Any, is_right: Callable[[Seen], bool], caplog: pytest.LogCaptureFixture) -> None:
    api.records = make_records(range(25))
    api.check = is_right
    api.troubles.extend([500])
    with Source(api.url, auth=auth, paging=Cursor("next"), records="data.items") as source:
        assert len(list(source.get("cursor"))) == 25
        assert not any(secret in caplog.text + repr(vars(source)) for secret in ("t0ken", "k3y", "pass"))
    source = Source(api.url, paging=Cursor("next"), records="data.items")
    with source, pytest.raises(SourceRefused, match="401"):
        list(source.get("cursor"))


@pytest.mark.parametrize("credentials_in", ["body", "header"])
def test_oauth_tokens_are_renewed_before_and_when_they_end(api: Api, credentials_in: Any) -> None:
    api.records = make_records(range(105))
    api.check = api.has_token
    api.token_lifetime = 0.4
    auth = OAuth2(f"{api.url}/token", *CLIENT, scope="read", credentials_in=credentials_in)
    with Source(api.url, auth=auth, paging=Cursor("next"), records="data.items", rate="10/s") as source:
        taken = []
        for number, page in enumerate(source.get("cursor").pages()):
            taken += ids(page.records)
            if number == 1:
                api.tokens = dict.fromkeys(api.tokens, 0.0)  # taken back by the source
        assert taken == list(range(105))
    assert len(api.tokens) >= 3
    assert all(token.endswith("-read") for token in api.tokens)
    assert auth.__dict__
    assert "s3cret" not in repr(auth)


def test_oauth_refresh_tokens_are_followed(api: Api) -> None:
    api.records = make_records(range(45))
    api.check = api.has_token
    api.token_lifetime = 0.3
    auth = OAuth2(f"{api.url}/token", *CLIENT, refresh_token="refresh-0")
    with Source(api.url, auth=auth, paging=Cursor("next"), records="data.items", rate="10/s") as source:
        assert len(list(source.get("cursor"))) == 45
    assert len(api.tokens) >= 2


def test_oauth_is_as_patient_as_the_rest(api: Api) -> None:
    api.check = api.has_token
    api.troubles.extend([503])
    with Source(api.url, auth=OAuth2(f"{api.url}/flaky-token", *CLIENT)) as source:
        assert list(source.get("all/list")) == []


@pytest.mark.parametrize("wrong", [{"client_secret": "wr0ng"}, {"refresh_token": "old", "client_secret": CLIENT[1]}])
def test_oauth_refusals_are_told_without_secrets(api: Api, wrong: dict[str, str]) -> None:
    source = Source(api.url, auth=OAuth2(f"{api.url}/token", "client", **wrong))  # type: ignore[arg-type]
    with source, pytest.raises(SourceRefused, match="invalid_") as raised:
        list(source.get("all/list"))
    assert raised.value.code == "auth_failed"
    assert "wr0ng" not in str(raised.value)


def test_oauth_is_asked_once_by_all_threads(api: Api) -> None:
    api.check = api.has_token
    with Source(api.url, auth=OAuth2(f"{api.url}/token", *CLIENT)) as source:
        assert len(list(source.each("/one/{}", range(40), records="lines", concurrency=8))) == 120
    assert len(api.tokens) == 1


def test_a_refusal_is_not_repeated(api: Api) -> None:
    api.troubles.extend([404, 404])
    with Source(api.url) as source, pytest.raises(SourceRefused, match="answers 404") as raised:
        list(source.get("all/list", {"key": "s3cret"}))
    assert len(api.troubles) == 1
    assert raised.value.retryable is False
    assert "s3cret" not in str(raised.value)


def test_retry_after_in_seconds_is_kept(api: Api) -> None:
    api.retry_after = "1"
    api.troubles.extend([429])
    begin = time.monotonic()
    with Source(api.url) as source:
        list(source.get("all/list"))
    assert time.monotonic() - begin >= 1.0


def test_retry_after_as_a_date_is_kept(api: Api) -> None:
    api.troubles.extend(["after"])
    with Source(api.url) as source:
        list(source.get("all/list"))
        assert source.requests == 2


def test_what_retry_after_may_be() -> None:
    date = {"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert retry_after(httpx.Headers(date)) == 10
    assert retry_after(httpx.Headers({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})) is None
    assert [retry_after(httpx.Headers({"retry-after": text})) for text in ("7", "soon", "-1", "")] == [
        7,
        None,
        None,
        None,
    ]


def test_a_source_that_wants_too_long_a_rest_is_not_waited_for(api: Api) -> None:
    api.retry_after = "3600"
    api.troubles.extend([429])
    begin = time.monotonic()
    with Source(api.url) as source, pytest.raises(SourceUnavailable, match="3600 s") as raised:
        list(source.get("all/list"))
    assert time.monotonic() - begin < 600
    assert raised.value.retryable is True


def test_patience_ends(api: Api) -> None:
    api.troubles.extend([500] * 1000)
    with Source(api.url, patience=1) as source, pytest.raises(SourceUnavailable, match="gave up after 1 s"):
        list(source.get("all/list"))


def test_an_answer_that_never_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_LONGEST", 0.2)
    api.records = make_records(range(5))
    api.troubles.extend(["slow"])
    with Source(api.url) as source:
        assert ids(source.get("all/list")) == list(range(5))


def test_nobody_there() -> None:
    with Source("http://127.0.0.1:9", patience=0.5) as source, pytest.raises(SourceUnavailable):
        list(source.get("all/list"))


def test_the_rate_is_kept_by_all_threads(api: Api) -> None:
    api.limit = 20
    with Source(api.url, rate="18/s") as source:
        begin = time.monotonic()
        assert len(list(source.each("/one/{}", range(36), records="lines", concurrency=8))) == 36 * 3
        assert time.monotonic() - begin >= 35 / 18
    assert api.refused[429] == 0


def test_a_limit_that_nobody_told_is_found_out(api: Api) -> None:
    api.limit = 10
    api.retry_after = "1"
    with Source(api.url) as source:
        assert len(list(source.each("/one/{}", range(25), records="lines", concurrency=4))) == 75
    assert api.refused[429] > 0


def test_lists_of_many_items_come_in_order(api: Api) -> None:
    api.troubles.extend([500, "drop", 503])
    with Source(api.url) as source:
        taken = list(source.each("/one/{id}", ({"id": f"a/{n}"} for n in range(20)), records="lines", concurrency=5))
    assert [record["order"] for record in taken] == [f"a%2F{n}" for n in range(20) for _ in range(3)]


def test_many_items_are_asked_for_as_they_are_needed(api: Api) -> None:
    with Source(api.url) as source:
        taken = list(islice(source.each("/one/{}", range(10_000), records="lines", concurrency=4), 3))
    assert len(taken) == 3
    assert source.requests < 20


@pytest.mark.parametrize(
    "make",
    [
        lambda: Source("api.example.com"),
        lambda: Source("http://x", rate="fast"),
        lambda: Source("http://:8080/v1"),
        lambda: Source("http://x:y"),
        lambda: Source("http://x", rate="0/s"),
        lambda: Source("http://x").each("/{}", [], concurrency=0),
        lambda: list(Source("http://x").each("/{id}", [{"nr": 1}])),
    ],
)
def test_what_cannot_work_is_told_at_once(make: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError):
        make()


def test_errors_are_of_one_kind() -> None:
    for error in (SettingsError, SourceRefused, SourceUnavailable, UnexpectedAnswer):
        assert issubclass(error, PipelineError)
        assert error.code


def test_a_delta_asks_from_the_start_on(api: Api) -> None:
    api.records = make_records(range(25))
    since = Watermark("updated_at", parameter="since", start=api.records[20]["updated_at"])
    with Source(api.url, paging=Cursor("next"), records="data.items") as source:
        assert ids(source.get("cursor", since=since)) == [20, 21, 22, 23, 24]
