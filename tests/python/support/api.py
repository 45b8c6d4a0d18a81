"""A source as they are: paged in every way, limited, flaky, with logins that end, in several formats."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import escape

Record = dict[str, Any]
CLIENT = ("client", "client-s3cret")
SIZE = 10
"""Records a page."""


def moment(second: int) -> str:
    """A time as sources write it, so many seconds after New Year."""
    return (datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def make_records(numbers: range) -> list[Record]:
    """Orders with these ids, each changed a second after the one before."""
    return [{"id": n, "updated_at": moment(n), "country": ["de", "fr", None][n % 3], "note": f"ä{n}"} for n in numbers]


@dataclass
class Seen:
    """A request that was answered."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class Api:
    """A server whose troubles come in the order in which they are put into `troubles`.

    Each is 0 for none, a status, `drop` (no answer), `cut` (half an answer), `slow` (one that never ends), or `after`
    (429 with a date to wait for).
    """

    records: list[Record] = field(default_factory=list)
    troubles: deque[int | str] = field(default_factory=deque)
    retry_after: str | None = "0"
    limit: float | None = None
    """Requests that are allowed in a second."""
    check: Callable[[Seen], bool] = lambda _: True
    """Whether a login is right."""
    token_lifetime: float = 60.0
    inclusive: bool = True
    """Whether `since` means from there on, rather than after it."""

    def __post_init__(self) -> None:
        self.seen: list[Seen] = []
        self.tokens: dict[str, float] = {}
        self.refresh_tokens = {"refresh-0"}
        self.refused = Counter[int]()
        self._times: deque[float] = deque()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("0.0.0.0", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Api:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def is_too_fast(self) -> bool:
        now = time.monotonic()
        with self._lock:
            while self._times and self._times[0] <= now - 1:
                self._times.popleft()
            if self.limit is not None and len(self._times) >= self.limit:
                return True
            self._times.append(now)
            return False

    def trouble(self) -> int | str | None:
        with self._lock:
            return (self.troubles.popleft() or None) if self.troubles else None

    def has_token(self, seen: Seen) -> bool:
        """A check for OAuth."""
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        return self.tokens.get(token, 0) > time.monotonic()

    def token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        client = (form.get("client_id", ""), form.get("client_secret", ""))
        if headers.get("authorization", "").startswith("Basic "):
            user, _, password = base64.b64decode(headers["authorization"][6:]).decode().partition(":")
            client = (user, password)
        if client != CLIENT:
            return 401, {"error": "invalid_client"}
        answer: dict[str, Any] = {}
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") not in self.refresh_tokens:
                return 400, {"error": "invalid_grant", "error_description": "the refresh token is used up"}
            # Each is good for one use.
            self.refresh_tokens = {f"refresh-{len(self.tokens) + 1}"}
            answer["refresh_token"] = next(iter(self.refresh_tokens))
        token = f"token-{len(self.tokens)}-{form.get('scope', '')}"
        self.tokens[token] = time.monotonic() + self.token_lifetime
        return 200, {**answer, "access_token": token, "token_type": "Bearer", "expires_in": self.token_lifetime}

    def selected(self, params: dict[str, str]) -> list[Record]:
        since = params.get("since", params.get("updated_at"))
        if since is None:
            return list(self.records)
        return [r for r in self.records if r["updated_at"] > since or (self.inclusive and r["updated_at"] == since)]

    def page(self, kind: str, params: dict[str, str]) -> tuple[list[Record], dict[str, Any], dict[str, str]]:
        """The records of a page, what stands around them, and headers."""
        records = self.selected(params)
        size = min(int(params.get("limit", params.get("per_page", SIZE))), SIZE)
        if kind == "page":
            begin = (int(params.get("page", 1)) - 1) * size
        elif kind == "cursor":
            begin = int(base64.b64decode(params["cursor"])) if "cursor" in params else 0
        else:
            begin = int(params.get("offset", params.get("from", 0)))
        if kind == "all":
            return records, {}, {}
        end = begin + size
        following = {**params, "from": str(end)}
        has_more = end < len(records)
        around: dict[str, Any] = {"meta": {"total": len(records), "pages": -(-len(records) // size)}}
        headers = {}
        if kind == "cursor":
            around["next"] = base64.b64encode(str(end).encode()).decode() if has_more else None
        elif kind == "link":
            around["links"] = {"next": f"/link?{urlencode(following)}" if has_more else None}
        elif kind == "header" and has_more:
            headers["Link"] = f'<{self.url}/header?{urlencode(following)}>; rel="next", <{self.url}/>; rel="first"'
        return records[begin:end], around, headers


def as_csv(records: list[Record], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "updated_at", "country", "note"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def as_xml(records: list[Record]) -> bytes:
    rows = "".join(
        f'<order id="{r["id"]}"><updated_at>{r["updated_at"]}</updated_at><note>{escape(r["note"])}</note>'
        f"<line>1</line><line>2</line></order>"
        for r in records
    )
    return f'<?xml version="1.0"?><o:orders xmlns:o="urn:o"><page>1</page><o:list>{rows}</o:list></o:orders>'.encode()


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            trouble = api.trouble() if urlsplit(self.path).path == "/flaky-token" else None
            if isinstance(trouble, int):
                self._send(trouble, b"{}", {})
                return
            form = {name: values[0] for name, values in parse_qs(body).items()}
            status, answer = api.token(form, {name.lower(): value for name, value in self.headers.items()})
            self._send(status, json.dumps(answer).encode(), {})

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            params = {name: values[0] for name, values in parse_qs(parts.query).items()}
            seen = Seen(parts.path, params, {name.lower(): value for name, value in self.headers.items()})
            status: int | str | None = api.trouble()
            if status is None and api.is_too_fast():
                status = 429
            if status is None and not api.check(seen):
                status = 401
            if status == "drop":
                self.close_connection = True
                return
            if isinstance(status, int) or status == "after":
                self._refuse(429 if status == "after" else int(status), by_date=status == "after")
                return
            api.seen.append(seen)
            body, headers = self._body(parts.path.strip("/"), params)
            if status == "slow":
                self._send_slowly()
                return
            self._send(200, body, headers, cut=status == "cut")

        def _body(self, path: str, params: dict[str, str]) -> tuple[bytes, dict[str, str]]:
            kind, _, rest = path.partition("/")
            if kind == "one":
                return json.dumps({"id": rest, "lines": [{"order": rest, "line": n} for n in range(3)]}).encode(), {}
            if kind == "orders":  # as the scaffold's script has it
                records, around, _ = api.page("cursor", params)
                return json.dumps({"data": records, "next": around["next"]}).encode(), {}
            records, around, headers = api.page(kind, params)
            if rest == "csv":
                return as_csv(records, params.get("delimiter", ",")), {**headers, "Content-Type": "text/csv"}
            if rest == "xml":
                return as_xml(records), {**headers, "Content-Type": "application/xml"}
            if rest == "ndjson":
                return b"".join(json.dumps(each).encode() + b"\n" for each in records), headers
            if rest == "list":
                return json.dumps(records).encode(), headers
            return json.dumps({"data": {"items": records}, **around}).encode(), headers

        def _refuse(self, status: int, *, by_date: bool) -> None:
            api.refused[status] += 1
            headers = {}
            if by_date:
                headers["Retry-After"] = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=1), usegmt=True)
            elif api.retry_after is not None:
                headers["Retry-After"] = api.retry_after
            self._send(status, b'{"message": "not\\n now"}', headers)

        def _send_slowly(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.02)

        def _send(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
