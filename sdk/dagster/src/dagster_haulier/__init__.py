"""Runs container jobs on Haulier from Dagster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetExecutionContext,
    DagsterExecutionInterruptedError,
    OpExecutionContext,
    PipesClient,
    PipesEnvContextInjector,
    PipesMessageReader,
    open_pipes_session,
)
from dagster._core.definitions.resource_annotation import TreatAsResourceParam
from dagster._core.pipes.client import PipesClientCompletedInvocation
from dagster._core.pipes.context import PipesMessageHandler
from dagster._core.pipes.utils import extract_message_or_forward_to_stdout
from dagster_pipes import PipesDefaultMessageWriter, PipesExtras, PipesParams
from haulier import Haulier, Run, RunFailed

__all__ = ["PipesHaulierClient", "PipesHaulierError"]

LEASE_SECONDS = 900


class PipesHaulierError(Exception):
    """A run did not succeed. Its text says why, and what to do."""


class PipesHaulierClient(PipesClient, TreatAsResourceParam):
    """Runs jobs, and takes what their scripts tell Dagster from their logs.

    Args:
        client: how to reach Haulier; by `HAULIER_URL`, `HAULIER_TOKEN` and `HAULIER_PROJECT` when left out.
        abandon_after_seconds: Haulier cancels a run when nothing asked for it for so long; None = never.
    """

    def __init__(self, client: Haulier | None = None, *, abandon_after_seconds: int | None = LEASE_SECONDS) -> None:
        """Asks nobody yet."""
        self._client = client
        self._abandon_after_seconds = abandon_after_seconds

    def run(  # type: ignore[override]
        self,
        *,
        context: OpExecutionContext | AssetExecutionContext,
        job: str,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        extras: PipesExtras | None = None,
    ) -> PipesClientCompletedInvocation:
        """Runs a job to its end.

        Args:
            context: of the op or asset that runs it.
            job: id or name.
            parameters: given to the script as `HAULIER_PARAMETERS`.
            env: added to the job's environment.
            extras: given to the script by Dagster Pipes.

        Raises:
            PipesHaulierError: the run did not succeed.
            HaulierError: the service could not be reached, or refused the request.
        """
        reader = _LogReader()
        client = self._client or Haulier()
        with open_pipes_session(context, PipesEnvContextInjector(), reader, extras) as session:
            run = client.trigger(
                job,
                parameters=parameters,
                env={**(env or {}), **session.get_bootstrap_env_vars()},
                source={"kind": "dagster", "dagster_run": context.run_id, "step": _step(context)},
                idempotency_key=f"dagster/{context.run_id}/{_step(context)}/{context.retry_number}",
                if_exists="return_unless_failed",
                abandon_after_seconds=self._abandon_after_seconds,
            )
            context.log.info(f"run {run.id} of job {run.job}")
            try:
                reader.read(run)
                run.wait()
            except RunFailed as failed:
                raise PipesHaulierError(str(failed)) from None
            except (DagsterExecutionInterruptedError, KeyboardInterrupt):
                run.cancel()
                raise
        return PipesClientCompletedInvocation(session, metadata={"haulier run": run.id})


def _step(context: OpExecutionContext | AssetExecutionContext) -> str:
    return str(context.get_step_execution_context().step.key)


class _LogReader(PipesMessageReader):
    """Takes messages out of a run's log, and shows the rest."""

    def __init__(self) -> None:
        self._handler: PipesMessageHandler | None = None

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDOUT}

    def read(self, run: Run) -> None:
        """Reads the log until the run has ended."""
        assert self._handler  # noqa: S101 - the session is open
        begun: dict[str, str] = {}
        for line in run.logs():
            text = begun.pop(line.stream, "") + line.text
            if line.partial:
                # A message may be longer than a record of the log.
                begun[line.stream] = text
            else:
                extract_message_or_forward_to_stdout(self._handler, text)

    def no_messages_debug_text(self) -> str:
        return "Attempted to read messages from the log of a Haulier run."
