"""Waits for a run that another task, or somebody else, has triggered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, BaseSensorOperator, PokeReturnValue, conf
from haulier import Haulier

from .hooks import HaulierHook
from .operators import failure
from .triggers import HaulierRunTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class HaulierRunSensor(BaseSensorOperator):
    """Ends as a run ends. The run's output is the task's return value. It never cancels the run.

    :param run_id: the run, say ``{{ ti.xcom_pull("start") }}``. (templated)
    :param deferrable: whether to wait in the triggerer, without holding a worker slot.
    :param haulier_conn_id: the connection's id. (templated)
    """

    template_fields: Sequence[str] = ("run_id", "haulier_conn_id")
    ui_color = "#dbe9e4"

    def __init__(
        self,
        *,
        run_id: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        haulier_conn_id: str = HaulierHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        """Asks nobody yet."""
        super().__init__(**kwargs)
        self.run_id = run_id
        self.deferrable = deferrable
        self.haulier_conn_id = haulier_conn_id

    def execute(self, context: Context) -> Any:
        """Waits, here or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        self.defer(
            trigger=HaulierRunTrigger(self.run_id, self.haulier_conn_id),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        return None  # unreachable: deferring raises

    def poke(self, context: Context) -> PokeReturnValue:
        """Whether it has ended."""
        with self._client() as client:
            run = client.runs.get(self.run_id)
        if run.finished and not run.succeeded:
            raise failure(run)
        return PokeReturnValue(is_done=run.finished, xcom_value=run.output)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Goes on after the trigger has fired."""
        if event["error"]:
            raise AirflowException(f"Run {event['run_id']} could not be followed: {event['error']}")
        return self.poke(context).xcom_value

    def _client(self) -> Haulier:
        return HaulierHook(self.haulier_conn_id).get_conn()
