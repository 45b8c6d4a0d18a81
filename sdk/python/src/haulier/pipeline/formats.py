"""From an answer's bytes to records, one after the other."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UnexpectedAnswer
from .http import Answer, shown
from .paging import found

Record = dict[str, Any]
Format = Literal["json", "ndjson", "csv", "xml"]


@dataclass
class Parsed:
    """An answer's records, and for JSON the document around them."""

    records: Iterator[Record]
    document: Any = None


def parse(answer: Answer, format: Format, path: str | None, is_paged: bool) -> Parsed:  # noqa: A002 - the public name
    """Reads an answer.

    Args:
        path: where the records are: keys for JSON, element names for XML.
        is_paged: an answer that is itself one record is an oversight then.

    Raises:
        UnexpectedAnswer: at once or while records are taken.
    """
    if format == "json":
        return _json(answer, path, is_paged)
    if format == "ndjson":
        return Parsed(_ndjson(answer))
    if format == "csv":
        return Parsed(_csv(answer))
    return Parsed(_xml(answer, path))


def _json(answer: Answer, path: str | None, is_paged: bool) -> Parsed:
    try:
        document = json.load(answer.body)
    except ValueError as error:
        raise UnexpectedAnswer(f"{shown(answer.url)} answers with something that is not JSON: {error}") from None
    records = document
    if path:
        records = document[path] if isinstance(document, Mapping) and path in document else found(document, path)
        if records is None:
            raise UnexpectedAnswer(f"{shown(answer.url)} answers without {path!r}: {_shape(document)}")
    elif isinstance(document, Mapping):
        if is_paged:
            raise UnexpectedAnswer(
                f"{shown(answer.url)} answers with an object: say in `records` where in it the records are; "
                f"{_shape(document)}"
            )
        records = [document]
    if isinstance(records, Mapping):
        records = [records]
    if not isinstance(records, list):
        raise UnexpectedAnswer(f"{shown(answer.url)} has no list at {path or 'its top'!r}: {_shape(document)}")
    return Parsed((_record(each, answer) for each in records), document)


def _shape(document: Any) -> str:
    if isinstance(document, Mapping):
        return f"it has the keys {', '.join(map(str, list(document)[:20])) or '(none)'}"
    return f"it is a {type(document).__name__}"


def _record(value: Any, answer: Answer) -> Record:
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"{shown(answer.url)} has a record that is no object: {str(value)[:80]!r}")
    return value


def _ndjson(answer: Answer) -> Iterator[Record]:
    for number, line in enumerate(answer.body, 1):
        if line.strip():
            try:
                yield _record(json.loads(line), answer)
            except ValueError as error:
                raise UnexpectedAnswer(f"line {number} of {shown(answer.url)} is not JSON: {error}") from None


def _csv(answer: Answer) -> Iterator[Record]:
    rows = csv.DictReader(_lines(answer), delimiter=_delimiter(answer), strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise UnexpectedAnswer(
                    f"row {rows.line_num} of {shown(answer.url)} has more or fewer fields than the head: look at it"
                )
            yield dict(row)
    except (csv.Error, UnicodeError, LookupError) as error:
        raise UnexpectedAnswer(f"{shown(answer.url)} is not CSV that can be read: {error}") from None


def _lines(answer: Answer) -> Iterator[str]:
    # Not by a text file: only the newest Pythons have one over a spooled file.
    encoding = answer.encoding
    for number, line in enumerate(answer.body):
        yield line.removeprefix(codecs.BOM_UTF8).decode(encoding) if number == 0 else line.decode(encoding)


def _delimiter(answer: Answer) -> str:
    head = answer.body.readline()
    answer.body.seek(0)
    return max(",;\t|", key=lambda each: head.count(each.encode()))


def _xml(answer: Answer, path: str | None) -> Iterator[Record]:
    from xml.etree.ElementTree import Element, ParseError

    # Refuses entities, with which a few bytes become gigabytes.
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    if not path:
        raise UnexpectedAnswer("say in `records` which XML elements are records, like orders.order")
    wanted = path.split(".")
    above: list[Element] = []
    try:
        for event, element in iterparse(answer.body, events=("start", "end")):
            if event == "start":
                above.append(element)
                continue
            if [_name(each) for each in above] == wanted:
                value = _value(element)
                yield value if isinstance(value, dict) else {"#text": value}
                above[-2].remove(element) if len(above) > 1 else element.clear()
            above.pop()
    except (ParseError, DefusedXmlException) as error:
        raise UnexpectedAnswer(f"{shown(answer.url)} is not XML that can be read: {error}") from None


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _value(element: Any) -> Any:
    """An element: text if it has nothing else, else attributes as `@name`, children by name, repeated as a list."""
    record: Record = {f"@{name}": value for name, value in element.attrib.items()}
    for child in element:
        name, value = _name(child), _value(child)
        if name not in record:
            record[name] = value
        elif isinstance(record[name], list):
            record[name].append(value)
        else:
            record[name] = [record[name], value]
    text = (element.text or "").strip()
    if not record:
        return text or None
    if text:
        record["#text"] = text
    return record
