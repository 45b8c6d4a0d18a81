"""Runs container jobs on Haulier from Airflow."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def get_provider_info() -> dict[str, Any]:
    """What Airflow wants to know of a provider. It reads this without importing anything else."""
    return {
        "package-name": "airflow-provider-haulier",
        "name": "Haulier",
        "description": "Runs container jobs on Haulier.",
        "versions": [version("airflow-provider-haulier")],
        "integrations": [{"integration-name": "Haulier", "external-doc-url": "", "tags": ["service"]}],
        "hooks": [{"integration-name": "Haulier", "python-modules": ["haulier_airflow.hooks"]}],
        "operators": [{"integration-name": "Haulier", "python-modules": ["haulier_airflow.operators"]}],
        "sensors": [{"integration-name": "Haulier", "python-modules": ["haulier_airflow.sensors"]}],
        "triggers": [{"integration-name": "Haulier", "python-modules": ["haulier_airflow.triggers"]}],
        "extra-links": ["haulier_airflow.links.HaulierRunLink"],
        "connection-types": [
            {
                "connection-type": "haulier",
                "hook-class-name": "haulier_airflow.hooks.HaulierHook",
                # Airflow 3 builds the form from these two; Airflow 2 asks the hook.
                "hook-name": "Haulier",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port", "extra"],
                    "relabeling": {"host": "URL", "password": "Token"},
                    "placeholders": {"host": "https://haulier.example.com"},
                },
                "conn-fields": {
                    "project": {"label": "Project", "schema": {"type": ["string", "null"]}},
                },
            }
        ],
    }
