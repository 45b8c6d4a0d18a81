"""How a source's list goes on after its first page.

A position is JSON that says where the next page begins, so that another run can go on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from .errors import UnexpectedAnswer

Position = Any


@dataclass(frozen=True)
class PageInfo:
    """What is known of a page once its records have been read."""

    url: httpx.URL
    headers: httpx.Headers
    document: Any
    """The JSON document; None for other formats."""
    count: int
    """How many records it had."""


@dataclass(frozen=True)
class PageRequest:
    """What to ask for: another address than the list's, or further parameters."""

    params: Mapping[str, Any]
    url: str | None = None


class Paging(Protocol):
    """One way of paging."""

    def request(self, position: Position | None) -> PageRequest:
        """What to ask for at this position; None = at the beginning."""

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """The position after this page; None when it was the last."""


@dataclass(frozen=True)
class SinglePage:
    """All records come in one answer."""

    def request(self, position: Position | None) -> PageRequest:
        """The list itself."""
        return PageRequest({})

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class NextLink:
    """The answer holds the next page's address, whole or relative."""

    path: str = "next"
    """Where in the answer, like `links.next`."""

    def request(self, position: Position | None) -> PageRequest:
        """The address that the page before named."""
        return PageRequest({}, position)

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """The address, whole."""
        link = _found(page, self.path)
        return str(page.url.join(str(link))) if link else None


@dataclass(frozen=True)
class LinkHeader:
    """The header `Link` holds the next page's address, marked with `rel="next"`."""

    def request(self, position: Position | None) -> PageRequest:
        """The address that the page before named."""
        return PageRequest({}, position)

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """The address, whole."""
        response = httpx.Response(200, headers=page.headers)
        link = response.links.get("next", {}).get("url")
        return str(page.url.join(link)) if link else None


@dataclass(frozen=True)
class Cursor:
    """The answer holds a cursor, which the next request gives back as a parameter."""

    path: str = "next_cursor"
    """Where in the answer, like `meta.next`."""
    parameter: str = "cursor"

    def request(self, position: Position | None) -> PageRequest:
        """With the cursor, except for the first page."""
        return PageRequest({} if position is None else {self.parameter: position})

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """The cursor, if there is one."""
        cursor = _found(page, self.path)
        return None if cursor in (None, "", False) else cursor


@dataclass(frozen=True)
class PageNumber:
    """Pages have numbers. The first one without records ends the list, or the last one if the answer says how many."""

    parameter: str = "page"
    first: int = 1
    size: int | None = None
    """Records a page, if it can be asked for."""
    size_parameter: str = "per_page"
    pages: str | None = None
    """Where the answer says how many pages there are, like `meta.total_pages`."""

    def request(self, position: Position | None) -> PageRequest:
        """With the number, and the size if one is asked for."""
        size = {} if self.size is None else {self.size_parameter: self.size}
        return PageRequest({self.parameter: self.first if position is None else position, **size})

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """The next number."""
        number = int(self.first if position is None else position)
        if self.pages is not None:
            last = _number(page, self.pages) + self.first - 1
            return number + 1 if number < last else None
        # A page that is not full is no sign: servers give less than they are asked for.
        return number + 1 if page.count else None


@dataclass(frozen=True)
class Offset:
    """Pages begin after so many records. An empty one ends the list, or reaching the total if the answer tells it."""

    parameter: str = "offset"
    limit: int | None = 100
    """Records a page; None = as the source likes."""
    limit_parameter: str = "limit"
    total: str | None = None
    """Where the answer says how many records there are in all, like `meta.total`."""

    def request(self, position: Position | None) -> PageRequest:
        """With the offset, and the limit if there is one."""
        limit = {} if self.limit is None else {self.limit_parameter: self.limit}
        return PageRequest({self.parameter: position or 0, **limit})

    def following(self, position: Position | None, page: PageInfo) -> Position | None:
        """As far as records have come, whatever the limit was."""
        reached = int(position or 0) + page.count
        if not page.count or (self.total is not None and reached >= _number(page, self.total)):
            return None
        return reached


def found(document: Any, path: str) -> Any:
    """What lies at a path like `data.items` in a document; None when there is nothing."""
    for part in path.split("."):
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def _found(page: PageInfo, path: str) -> Any:
    if page.document is None:
        raise UnexpectedAnswer(f"there is no {path} in an answer that is not JSON: page by LinkHeader or numbers")
    # A name with a dot in it, like OData's @odata.nextLink, is tried as it stands first.
    if isinstance(page.document, Mapping) and path in page.document:
        return page.document[path]
    return found(page.document, path)


def _number(page: PageInfo, path: str) -> int:
    try:
        return int(_found(page, path))
    except (TypeError, ValueError):
        raise UnexpectedAnswer(
            f"{path} in the answer is no number: see what the source answers, and correct it"
        ) from None
