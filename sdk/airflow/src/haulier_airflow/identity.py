"""Which run belongs to which task instance."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

LONGEST_KEY = 255
LONGEST_VALUE = 256
GENERATION = "generation"


def idempotency_key(context: Context) -> str:
    """The same for every try of a task instance, and another one after it was cleared.

    `max_tries` makes it so: automatic retries leave it alone, clearing raises it. A try that replaces a killed one
    therefore finds the run that is under way, and a cleared task makes a new one.
    """
    ti = context["ti"]
    key = f"airflow/{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}/{ti.max_tries}"
    if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable():
        return key
    return f"airflow/{hashlib.sha256(key.encode()).hexdigest()}"


def source(context: Context) -> dict[str, str]:
    """Who asks, for people and filters; without the generation the same for as long as the task instance lives."""
    ti = context["ti"]
    said: dict[str, Any] = {
        "kind": "airflow",
        "dag": ti.dag_id,
        "dag_run": ti.run_id,
        "task": ti.task_id,
        "map_index": ti.map_index,
        GENERATION: ti.max_tries,
    }
    return {name: str(value).encode()[:LONGEST_VALUE].decode(errors="ignore") for name, value in said.items()}
