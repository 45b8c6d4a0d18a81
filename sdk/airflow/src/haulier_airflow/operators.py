"""Runs a job as an Airflow task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator, conf
from haulier import Haulier, HaulierError, RequestRefused, Run, RunFailed, Settings

from .hooks import HaulierHook
from .identity import GENERATION, idempotency_key, source
from .links import URL_KEY, HaulierRunLink
from .triggers import HaulierRunTrigger, hasty

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

LEASE_SECONDS = 900
"""How long a run goes on when nobody asks for it any more: long enough for a killed task to be tried again."""
LIVE = ["queued", "starting", "running"]
PASSING_CONFLICTS = frozenset({"job_full", "job_changing"})


class HaulierRunOperator(BaseOperator):
    """Triggers a run of a job, shows its log, and ends as it ends. The run's output is the task's return value.

    Every try of a task instance means the same run: one that replaces a killed one goes on with it. After a failed
    run, a retry makes a new one; so does clearing the task.

    :param job: id or name of the job. (templated)
    :param parameters: given to the script as ``HAULIER_PARAMETERS``; they must be the same for every try. (templated)
    :param env: added to the job's environment. (templated)
    :param labels: added to the job's labels. (templated)
    :param timeout_seconds: how long one attempt may run, instead of the job's own.
    :param priority: higher goes first, -100 to 100.
    :param abandon_after_seconds: Haulier cancels the run when nothing asked for it for so long, say because Airflow
        is gone. None = never.
    :param wait_for_completion: whether to wait for its end; else the return value is the run's id.
    :param deferrable: whether to wait in the triggerer, without holding a worker slot.
    :param log_interval: how often a deferred task comes back to show what was logged meanwhile, in seconds; None = at
        the end.
    :param haulier_conn_id: the connection's id. (templated)
    """

    template_fields: Sequence[str] = ("job", "parameters", "env", "labels", "haulier_conn_id")
    template_fields_renderers = {"parameters": "json", "env": "json", "labels": "json"}  # noqa: RUF012 - Airflow's
    operator_extra_links = (HaulierRunLink(),)
    ui_color = "#dbe9e4"

    def __init__(
        self,
        *,
        job: str,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        timeout_seconds: int | None = None,
        priority: int | None = None,
        abandon_after_seconds: int | None = LEASE_SECONDS,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        log_interval: float | None = None,
        haulier_conn_id: str = HaulierHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        """Asks nobody yet."""
        super().__init__(**kwargs)
        self.job = job
        self.parameters = parameters
        self.env = env
        self.labels = labels
        self.timeout_seconds = timeout_seconds
        self.priority = priority
        self.abandon_after_seconds = abandon_after_seconds
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.log_interval = log_interval
        self.haulier_conn_id = haulier_conn_id
        self._run_id: str | None = None
        self._settings: Settings | None = None
        self._killed = False

    def execute(self, context: Context) -> Any:
        """Triggers the run, or finds the one that an earlier try made, and sees it to its end."""
        with self._client() as client:
            run = self._trigger(client, context)
            context["ti"].xcom_push(key="haulier_run_id", value=run.id)
            context["ti"].xcom_push(key=URL_KEY, value=f"{client.settings.url}/runs/{run.id}")
            self.log.info("Run %s of job %s is %s", run.id, run.job, run.state)
            if not self.wait_for_completion:
                return run.id
            if self.deferrable and not run.finished:
                self._defer(run.id, 0)
            self._show_log(run, 0, follow=True)
            run.wait(check=False)
            return self._result(run)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Goes on after the trigger has fired."""
        if event["error"]:
            # A retry finds the run again.
            raise AirflowException(f"Run {event['run_id']} could not be followed: {event['error']}")
        with self._client() as client:
            run = client.runs.get(event["run_id"])
            self._run_id = run.id
            offset = self._show_log(run, event["offset"], follow=run.finished)
            if not run.finished:
                self._defer(run.id, offset)
            return self._result(run)

    def on_kill(self) -> None:
        """Cancels the run.

        Called in a signal handler, perhaps while the task's own client waits for an answer: it uses a client of its
        own, asks Airflow for nothing, and is quick, for Airflow kills for good some seconds later.
        """
        self._killed = True
        if self._settings is None or self._run_id is None:
            return
        try:
            with Haulier(settings=hasty(self._settings)) as client:
                client.runs.cancel(self._run_id)
        except HaulierError as error:
            self.log.warning("Run %s could not be cancelled; its lease will end it: %s", self._run_id, error)

    def _client(self) -> Haulier:
        self._settings = HaulierHook(self.haulier_conn_id).settings()
        return Haulier(settings=self._settings)

    def _trigger(self, client: Haulier, context: Context) -> Run:
        try:
            self._cancel_earlier_generations(client, context)
            run = self._trigger_once(client, context)
            if run.state == "cancelling":
                # Cleared while it ran: its end is awaited, then the same request makes a new run.
                run.wait(check=False)
                run = self._trigger_once(client, context)
        except RequestRefused as refused:
            if refused.status is not None and refused.status < 500 and refused.code not in PASSING_CONFLICTS:
                raise AirflowFailException(_explained(refused)) from None
            raise
        if self._killed:
            run.cancel()
            self._check_not_killed()
        return run

    def _trigger_once(self, client: Haulier, context: Context) -> Run:
        run = client.trigger(
            self.job,
            parameters=self.parameters,
            env=self.env,
            labels=self.labels,
            timeout_seconds=self.timeout_seconds,
            priority=self.priority,
            abandon_after_seconds=self.abandon_after_seconds,
            source=source(context),
            idempotency_key=idempotency_key(context),
            if_exists="return_unless_failed",
        )
        self._run_id = run.id
        return run

    def _cancel_earlier_generations(self, client: Haulier, context: Context) -> None:
        """Ends what a task that was cleared while deferred has left behind: Airflow before 3.3 does not tell it."""
        if context["ti"].max_tries <= (self.retries or 0):
            return
        own = source(context)
        same_task = {name: value for name, value in own.items() if name != GENERATION}
        for run in client.runs.list(source=same_task, states=LIVE):
            if run.view.source.get(GENERATION) != own[GENERATION]:
                self.log.info("Cancelling run %s of this task from before it was cleared", run.id)
                run.cancel()

    def _defer(self, run_id: str, offset: int) -> None:
        self._check_not_killed()
        self.defer(
            trigger=HaulierRunTrigger(run_id, self.haulier_conn_id, offset, self.log_interval),
            method_name="execute_complete",
        )

    def _show_log(self, run: Run, offset: int, *, follow: bool) -> int:
        """Shows the log from an offset on; says up to where."""
        for line in run.logs(offset, follow=follow):
            self._check_not_killed()
            self.log.info("%s", line.text)
            offset = line.next_offset
        self._check_not_killed()
        return offset

    def _check_not_killed(self) -> None:
        # Airflow 3 goes on after `on_kill`: without this, a killed task could end well.
        if self._killed:
            raise AirflowException(f"The task was killed; run {self._run_id} was asked to end")

    def _result(self, run: Run) -> Any:
        self._check_not_killed()
        if run.succeeded:
            return run.output
        raise failure(run)


def failure(run: Run) -> AirflowException:
    """The exception for a run that did not succeed: one that makes Airflow try again only if that may help."""
    failed = RunFailed(run.view)
    return AirflowException(str(failed)) if failed.retryable else AirflowFailException(str(failed))


def _explained(refused: RequestRefused) -> str:
    if refused.code == "idempotency_key_reused":
        return f"The request differs from the one of an earlier try: keep try numbers and times out of it ({refused})"
    return str(refused)
