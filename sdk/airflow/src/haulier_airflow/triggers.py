"""What waits for a run while its task holds no worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from haulier import AsyncHaulier, HaulierError, Settings

from .hooks import HaulierHook

POLL_SECONDS = 50.0
KILL_TIMEOUT = 1.5
"""How long reaching the service, and its answer, may each take when a task is killed, in seconds."""


class HaulierRunTrigger(BaseTrigger):
    """Fires when a run has ended, or when it is time to show its log.

    The event is `{"run_id", "offset", "finished", "error"}`: the offset is handed through, and says up to where the
    task has shown the log; `error` is set when the service could not be asked.

    :param run_id: the run.
    :param haulier_conn_id: the connection's id.
    :param offset: up to where its log was shown, in bytes.
    :param log_interval: when to fire though it has not ended, in seconds; never when None.
    """

    def __init__(
        self,
        run_id: str,
        haulier_conn_id: str = HaulierHook.default_conn_name,
        offset: int = 0,
        log_interval: float | None = None,
    ) -> None:
        """Asks nobody yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.haulier_conn_id = haulier_conn_id
        self.offset = offset
        self.log_interval = log_interval
        self._settings: Settings | None = None
        self._killing: asyncio.Task[None] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Everything that another triggerer needs to go on."""
        return (
            "haulier_airflow.triggers.HaulierRunTrigger",
            {
                "run_id": self.run_id,
                "haulier_conn_id": self.haulier_conn_id,
                "offset": self.offset,
                "log_interval": self.log_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits with long-polls, which also keep the run's lease."""
        try:
            yield self._event(finished=await self._wait())
        except HaulierError as error:
            yield self._event(error=str(error))

    async def _wait(self) -> bool:
        """Whether the run has ended; if not, it is time to show its log."""
        self._settings = await HaulierHook(self.haulier_conn_id).settings_async()
        until = None if self.log_interval is None else time.monotonic() + self.log_interval
        async with AsyncHaulier(settings=self._settings) as client:
            run = await client.runs.get(self.run_id)
            while not run.finished:
                left = POLL_SECONDS if until is None else until - time.monotonic()
                if left <= 0:
                    return False
                await run.poll(min(left, POLL_SECONDS))
        return True

    def _event(self, *, finished: bool = False, error: str | None = None) -> TriggerEvent:
        return TriggerEvent({"run_id": self.run_id, "offset": self.offset, "finished": finished, "error": error})

    async def on_kill(self) -> None:
        """Cancels the run when somebody has cleared or marked the task (Airflow 3.3 and later).

        Airflow may call this also when the trigger merely moves to another triggerer: then the task is still deferred,
        and the run is left alone. If Airflow cannot be asked, the run's lease ends it.
        """
        # Airflow cancels again what has not ended within a heartbeat: that must not break off this.
        self._killing = asyncio.create_task(self._cancel_unless_deferred())
        await asyncio.shield(self._killing)

    async def _cancel_unless_deferred(self) -> None:
        if self._settings is None:
            return
        if await self._is_deferred():
            self.log.info("The task is still deferred: run %s goes on", self.run_id)
            return
        async with AsyncHaulier(settings=hasty(self._settings)) as client:
            await client.runs.cancel(self.run_id)
        self.log.info("Run %s was asked to end", self.run_id)

    async def _is_deferred(self) -> bool:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti = self.task_instance
        if ti is None:
            return True
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[ti.task_id], map_index=ti.map_index
        )
        return "deferred" in states.get(ti.run_id, {}).values()


def hasty(settings: Settings) -> Settings:
    """Settings for a request that is sent once and must not take long: Airflow soon kills for good."""
    return replace(settings, timeout=KILL_TIMEOUT, patience=0)
