"""Tasks that are killed: the job, and what it is given, come with the DAG run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.providers.common.compat.sdk import DAG
from haulier_airflow.operators import HaulierRunOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)

TASKS: list[tuple[str, int, dict[str, Any]]] = [
    ("blocking", 0, {}),
    ("blocking_retried", 2, {}),
    ("deferred", 0, {"deferrable": True}),
    ("deferred_with_log", 0, {"deferrable": True, "log_interval": 2}),
    ("not_awaited", 0, {"wait_for_completion": False}),
]
for name, retries, options in TASKS:
    with DAG(
        name,
        schedule=None,
        start_date=START,
        default_args={"retries": retries, "retry_delay": timedelta(seconds=1)},
    ):
        HaulierRunOperator(task_id="run", job="{{ dag_run.conf['job'] }}", **options)
