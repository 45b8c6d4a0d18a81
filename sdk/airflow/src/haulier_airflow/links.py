"""The way from a task to its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

URL_KEY = "haulier_run_url"
"""Under which XCom key the address of a task's run lies."""


class HaulierRunLink(BaseOperatorLink):
    """A button in the task's view that leads to the run."""

    name = "Haulier run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The run's address; empty while there is none."""
        return XCom.get_value(key=URL_KEY, ti_key=ti_key) or ""
