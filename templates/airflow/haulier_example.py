"""Three ways to run Haulier jobs from Airflow. Copy this file into your `dags` folder, and keep the DAG that you need.

Before: `pip install airflow-provider-haulier`, a connection `haulier_default` (see docs/airflow.md), and two jobs in
Haulier, `load-orders` and `load-customers`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable
from haulier_airflow.operators import HaulierRunOperator
from haulier_airflow.sensors import HaulierRunSensor

DEFAULTS = {
    # A retry after a crash finds the run that is under way; only a retry after a failed run starts a new one.
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
}
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
# Each run stands for one whole day. A plain "@daily" does so in Airflow 2 only: in Airflow 3 its interval is empty.
DAILY = CronDataIntervalTimetable("@daily", timezone="UTC")

# 1. The simplest: one job a day. The task's log shows the job's output; the task ends as the job ends.
with DAG("haulier_simple", schedule=DAILY, start_date=START, catchup=False, default_args=DEFAULTS):
    HaulierRunOperator(
        task_id="load_orders",
        job="load-orders",
        # The script finds these in HAULIER_PARAMETERS, as JSON. Take times from the data interval, never from "now":
        # a run that is repeated next week must load the same day again.
        parameters={"from": "{{ data_interval_start | ts }}", "to": "{{ data_interval_end | ts }}"},
    )

# 2. Two jobs in sequence that may take hours: `deferrable` waits without holding a worker slot.
with DAG("haulier_deferrable", schedule=DAILY, start_date=START, catchup=False, default_args=DEFAULTS):
    customers = HaulierRunOperator(task_id="load_customers", job="load-customers", deferrable=True)
    HaulierRunOperator(
        task_id="load_orders",
        job="load-orders",
        deferrable=True,
        log_interval=300,  # show what was logged every five minutes; without it, at the end
        # What the first script reported as its output. Naming it here also makes the second task wait for the first.
        parameters={"customers": customers.output},
    )

# 3. Start now, wait later: the sensor waits for a run that another task has started.
with DAG("haulier_start_and_wait", schedule=None, start_date=START, catchup=False, default_args=DEFAULTS):
    start = HaulierRunOperator(
        task_id="start",
        job="load-orders",
        wait_for_completion=False,
        abandon_after_seconds=None,  # nobody asks for it between the two tasks
    )
    wait = HaulierRunSensor(task_id="wait", run_id="{{ ti.xcom_pull('start') }}", deferrable=True)
    start >> wait
