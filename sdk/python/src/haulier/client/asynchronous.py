"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

from .models import JobSpec, JobView, RunView, WhoAmI
from .operations import IfExists, LogLine, LogReader, Operations, pairs
from .run import KnownRun
from .settings import Settings
from .transport import AsyncTransport


class AsyncHaulier:
    """Speaks to one service as one caller in one project. Belongs to one event loop.

        async with AsyncHaulier() as client:
            run = await client.trigger("load-orders", parameters={"day": "2026-01-31"})
            await run.wait()
            print(run.output)

    Requests that fail on the way are repeated for `patience` seconds. Every method may raise `HaulierError`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        project: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 120.0,
        settings: Settings | None = None,
    ) -> None:
        """What is left out is read from `HAULIER_URL`, `HAULIER_TOKEN` and `HAULIER_PROJECT`.

        Args:
            url: the service's address.
            token: who asks.
            project: the token's own when left out.
            timeout: how long one answer may take, in seconds.
            patience: how long requests that fail on the way are repeated, in seconds; 0 = not at all.
            settings: all of these, read before; then the others are not looked at.

        Raises:
            SettingsError: there is no address or token, or they cannot be used.
        """
        self.settings = settings or Settings.read(url, token, project, timeout=timeout, patience=patience)
        self._operations = Operations(self.settings)
        self._transport = AsyncTransport(self.settings)
        self.jobs = AsyncJobs(self._operations, self._transport)
        self.runs = AsyncRuns(self._operations, self._transport)

    async def whoami(self) -> WhoAmI:
        """Whose token it is, which project, and the service's version."""
        return await self._transport.run(self._operations.whoami())

    async def trigger(
        self,
        job: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        source: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        if_exists: IfExists | None = None,
        abandon_after_seconds: int | None = None,
        timeout_seconds: int | None = None,
        priority: int | None = None,
        not_before: datetime | None = None,
        callback_url: str | None = None,
    ) -> AsyncRun:
        """Triggers a run of a job, once, however often the request has to be sent.

        Args:
            job: id or name.
            parameters: given to the script as `HAULIER_PARAMETERS`.
            env: added to the job's environment.
            labels: added to the job's labels.
            source: who asks, for people and filters.
            idempotency_key: the same key with the same request gives the same run, for as long as that is kept. One
                is made when left out.
            if_exists: `return_unless_failed` makes a new run when the key's run ended badly.
            abandon_after_seconds: the service cancels the run when nobody asked for it for so long.
            timeout_seconds: instead of the job's.
            priority: higher goes first, -100 to 100.
            not_before: with a time zone.
            callback_url: is told the run's end, by a signed request.
        """
        view = await self._transport.run(
            self._operations.trigger(
                job,
                parameters=parameters,
                env=env,
                labels=labels,
                source=source,
                idempotency_key=idempotency_key,
                if_exists=if_exists,
                abandon_after_seconds=abandon_after_seconds,
                timeout_seconds=timeout_seconds,
                priority=priority,
                not_before=not_before,
                callback_url=callback_url,
            )
        )
        return AsyncRun(view, self._operations, self._transport)

    async def close(self) -> None:
        """Closes all connections."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncHaulier:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncJobs:
    """The project's jobs."""

    def __init__(self, operations: Operations, transport: AsyncTransport) -> None:
        """Use `AsyncHaulier.jobs`."""
        self._operations = operations
        self._transport = transport

    async def apply(self, spec: JobSpec | Mapping[str, Any]) -> JobView:
        """Registers a job, or gives it a new revision if anything is new; doing it again changes nothing."""
        return await self._transport.run(self._operations.apply_job(spec))

    async def get(self, job: str) -> JobView:
        """A job by id or name."""
        return await self._transport.run(self._operations.job(job))

    async def list(self, *, archived: bool = False) -> AsyncIterator[JobView]:
        """All jobs, read page by page."""
        cursor: str | None = None
        while True:
            page = await self._transport.run(self._operations.jobs({"archived": archived, "cursor": cursor}))
            for job in page.items:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def archive(self, job: str) -> None:
        """Archives a job: it takes no new runs, its history stays."""
        await self._transport.run(self._operations.archive_job(job))


class AsyncRuns:
    """The project's runs."""

    def __init__(self, operations: Operations, transport: AsyncTransport) -> None:
        """Use `AsyncHaulier.runs`."""
        self._operations = operations
        self._transport = transport

    async def get(self, run: str) -> AsyncRun:
        """A run by id."""
        return self._bound(await self._transport.run(self._operations.run(run)))

    async def cancel(self, run: str) -> AsyncRun:
        """Asks a run to end; doing it again changes nothing."""
        return self._bound(await self._transport.run(self._operations.cancel(run)))

    async def list(
        self,
        *,
        job: str | None = None,
        states: list[str] | None = None,
        labels: Mapping[str, str] | None = None,
        source: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[AsyncRun]:
        """AsyncRuns, the newest first, read page by page."""
        query = {
            "job": job,
            "state": ",".join(states) if states else None,
            "label": pairs(labels),
            "source": pairs(source),
            "since": since,
            "until": until,
        }
        cursor: str | None = None
        while True:
            page = await self._transport.run(self._operations.runs({**query, "cursor": cursor}))
            for view in page.items:
                yield self._bound(view)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _bound(self, view: RunView) -> AsyncRun:
        return AsyncRun(view, self._operations, self._transport)


class AsyncRun(KnownRun):
    """A run, and what can be done with it."""

    def __init__(self, view: RunView, operations: Operations, transport: AsyncTransport) -> None:
        """Use `AsyncHaulier.trigger` or `AsyncHaulier.runs`."""
        super().__init__(view)
        self._operations = operations
        self._transport = transport

    async def refresh(self) -> AsyncRun:
        """Asks how it is now."""
        self._view = await self._transport.run(self._operations.run(self.id))
        return self

    async def wait(self, timeout: float | None = None, *, check: bool = True) -> AsyncRun:
        """Waits for its end, though the service may be away for a while.

        Args:
            timeout: for how long, in seconds; as long as it takes when left out.
            check: whether an end other than `succeeded` is an exception.

        Raises:
            RunFailed: it ended in another way than `succeeded`.
            WaitTimeout: it has not ended in time; it goes on.
        """
        if not self.finished:
            self._view = await self._transport.run(self._operations.wait(self.id, timeout))
        if check:
            self.check()
        return self

    async def poll(self, seconds: float) -> AsyncRun:
        """Asks how it is at its end, or after so many seconds (50 at most)."""
        self._view = await self._transport.run(self._operations.poll(self.id, seconds))
        return self

    async def logs(self, offset: int = 0, *, follow: bool = True) -> AsyncIterator[LogLine]:
        """The lines of its log, each once, though connections may drop.

        Args:
            offset: where to begin: 0, or the `next_offset` of a line.
            follow: whether to go on until it has ended; else up to what there is now.
        """
        reader = LogReader(self._operations, self.id, offset, follow)
        while not reader.done:
            for line in await self._transport.run(reader.next_page()):
                yield line

    async def cancel(self) -> AsyncRun:
        """Asks it to end; `wait` says when it has. Doing it again changes nothing."""
        self._view = await self._transport.run(self._operations.cancel(self.id))
        return self

    async def retry(self, *, idempotency_key: str | None = None) -> AsyncRun:
        """Makes a new run like this one, which must have ended."""
        view = await self._transport.run(self._operations.retry(self.id, idempotency_key))
        return AsyncRun(view, self._operations, self._transport)
