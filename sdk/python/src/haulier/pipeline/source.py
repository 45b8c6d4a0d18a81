"""A source: an HTTP API that gives out lists of records."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from .auth import Bearer
from .errors import SettingsError, UnexpectedAnswer
from .formats import Format, Record, parse
from .http import Answer, Fetcher, Rate, shown
from .paging import PageInfo, Paging, Position, SinglePage
from .watermark import Value, Watermark

_LONGEST_IN_MEMORY = 64 * 1024 * 1024
_LONGEST = 16 * 1024 * 1024 * 1024
MAX_PAGES = 1_000_000
"""More pages than this are taken for a source that never ends."""


@dataclasses.dataclass
class Page:
    """Some records, and where it goes on after them."""

    records: Iterator[Record]
    following: Position | None = None
    """Where the next page begins, once the records have been taken; None when this was the last."""


class Records(Iterable[Record]):
    """A list of records that is asked for page by page while it is taken."""

    watermark: Watermark | None = None

    def pages(self, since: Value | None = None, position: Position | None = None) -> Generator[Page]:
        """The pages with records from `since` on, beginning at a position of an earlier pass."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Record]:
        """All records; with a watermark, those from its start on."""
        for page in self.pages(self.watermark.since(None) if self.watermark else None):
            yield from page.records


def _address(url: str) -> httpx.URL:
    with contextlib.suppress(httpx.InvalidURL):
        address = httpx.URL(url)
        if address.scheme in ("http", "https") and address.host:
            return address
    raise SettingsError(f"{url!r} is no address: write it like https://api.example.com/v1")


class Source:
    """An HTTP API: who asks, how its lists are paged, how fast it may be asked."""

    def __init__(
        self,
        url: str,
        *,
        auth: httpx.Auth | str | None = None,
        paging: Paging | None = None,
        records: str | None = None,
        format: Format = "json",  # noqa: A002 - the word for it
        rate: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        patience: float = 300.0,
        timeout: float = 60.0,
        max_bytes: int | None = None,
    ) -> None:
        """Asks nothing yet.

        Args:
            url: what all addresses begin with.
            auth: `Bearer`, `Basic`, `ApiKey` or `OAuth2`; a text is taken for a bearer token.
            paging: `NextLink`, `LinkHeader`, `Cursor`, `PageNumber` or `Offset`; None = one answer holds all.
            records: where in an answer the records are, like `data.items`; None = the answer is the list.
            rate: how often to ask at most, like `10/s`; waits that the source asks for are kept anyway.
            params: parameters of every request.
            patience: how long a request that fails is tried again, in seconds.
            timeout: how long the source may be silent, in seconds.
            max_bytes: the longest answer; None = 64 MiB of JSON, which is held in memory, and 16 GiB of what is not.
        """
        self._base = _address(url)
        self._http = httpx.Client(
            base_url=url,
            auth=Bearer(auth) if isinstance(auth, str) else auth,
            headers={"user-agent": "haulier-pipeline", **(headers or {})},
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            limits=httpx.Limits(max_connections=64),
            follow_redirects=True,
        )
        self._params = dict(params or {})
        self._paging = paging
        self._records = records
        self._format = format
        longest = max_bytes or (_LONGEST_IN_MEMORY if format == "json" else _LONGEST)
        self._fetcher = Fetcher(self._http, Rate(rate), patience=patience, max_bytes=longest)

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self._fetcher.requests

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        since: Watermark | None = None,
        paging: Paging | None = None,
        records: str | None = None,
    ) -> Records:
        """A list of the source; `paging` and `records` where this one differs from the others."""
        paging = paging or self._paging or SinglePage()
        where = self._records if records is None else records
        return _List(self, path, {**self._params, **(params or {})}, paging, where, since)

    def each(
        self,
        path: str,
        items: Iterable[Any],
        params: Mapping[str, Any] | None = None,
        *,
        concurrency: int = 4,
        paging: Paging | None = None,
        records: str | None = None,
    ) -> Records:
        """One list for each item, several at once, in the items' order.

        Args:
            path: with `{}` for the item, or `{name}` for its fields, like `/orders/{id}/lines`.
            concurrency: how many are asked for at once; so many answers are held in memory.
        """
        if not 1 <= concurrency <= 64:
            raise SettingsError(f"a concurrency of {concurrency} does not work: use 1 to 64")
        lists = (self.get(_filled(path, item), params, paging=paging, records=records) for item in items)
        return _Each(lists, concurrency)

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _List(Records):
    def __init__(
        self,
        source: Source,
        path: str,
        params: Mapping[str, Any],
        paging: Paging,
        records: str | None,
        watermark: Watermark | None,
    ) -> None:
        self._source = source
        self._path = path
        self._params = params
        self._paging = paging
        self._records = records
        self.watermark = watermark

    def pages(self, since: Value | None = None, position: Position | None = None) -> Generator[Page]:
        params = dict(self._params)
        if self.watermark and since is not None:
            params[self.watermark.parameter or self.watermark.field] = since
        for _ in range(MAX_PAGES):
            request = self._paging.request(position)
            # A link of the source's own holds all parameters.
            asked = request.params if request.url else {**params, **request.params}
            with self._source._fetcher.get(self._checked(request.url or self._path), asked) as answer:
                page = Page(iter(()))
                page.records = self._take(answer, page, position)
                yield page
                for _record in page.records:
                    pass  # what was not taken still counts
            if page.following is None:
                return
            if page.following == position:
                raise UnexpectedAnswer(f"{shown(answer.url)} names the same page as the next one: it would never end")
            position = page.following
        raise UnexpectedAnswer(f"{self._path} has more than {MAX_PAGES} pages: does its paging end?")

    def _take(self, answer: Answer, page: Page, position: Position | None) -> Iterator[Record]:
        parsed = parse(answer, self._source._format, self._records, not isinstance(self._paging, SinglePage))
        count = 0
        for record in parsed.records:
            count += 1
            yield record
        page.following = self._paging.following(position, PageInfo(answer.url, answer.headers, parsed.document, count))

    def _checked(self, url: str) -> str:
        """The address, if it may be asked: the login must not go elsewhere."""
        there, base = httpx.URL(url), self._source._base
        if there.host and (there.scheme, there.host, there.port) != (base.scheme, base.host, base.port):
            raise UnexpectedAnswer(
                f"the next page is said to be at {shown(there)}, another place than {shown(base)}: the login is not "
                "sent there; if that is right, make a source of that address"
            )
        return url


class _Each(Records):
    def __init__(self, lists: Iterable[Records], concurrency: int) -> None:
        self._lists = lists
        self._concurrency = concurrency

    def pages(self, since: Value | None = None, position: Position | None = None) -> Generator[Page]:
        done = int(position or 0)
        lists = islice(self._lists, done, None)
        threads = ThreadPoolExecutor(self._concurrency)
        waiting: deque[Future[list[Record]]] = deque()
        try:
            waiting.extend(threads.submit(list, each) for each in islice(lists, self._concurrency))
            while waiting:
                records = waiting.popleft().result()
                waiting.extend(threads.submit(list, each) for each in islice(lists, 1))
                done += 1
                yield Page(iter(records), done if waiting else None)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _filled(path: str, item: Any) -> str:
    def quoted(value: Any) -> str:
        return quote(str(value), safe="")

    try:
        if isinstance(item, Mapping):
            return path.format_map({name: quoted(value) for name, value in item.items()})
        return path.format(quoted(item))
    except (KeyError, IndexError) as error:
        raise SettingsError(f"{path!r} asks for {error}, which an item has not: name its fields in braces") from None
