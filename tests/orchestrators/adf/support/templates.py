"""The templates under test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from served import REPOSITORY

from .expressions import text_of

FOLDER = REPOSITORY / "templates" / "adf"
STYLES = ("poll", "callback", "async")
TOKENS = ("key-vault", "parameter", "managed-identity")
VARIANTS = [(style, token) for style in STYLES for token in TOKENS]

Json = dict[str, Any]


def folder(style: str, token: str) -> Path:
    """Where all forms of a variant are."""
    return FOLDER / "generated" / f"{style}-{token}"


def pipeline(style: str, token: str = "parameter") -> Json:
    """The pipeline of a variant."""
    value: Json = json.loads((folder(style, token) / "pipeline.json").read_text())
    return value


def children(activity: Json) -> list[list[Json]]:
    """The lists of activities in a container."""
    properties = activity["typeProperties"]
    lists = [properties[key] for key in ("activities", "defaultActivities") if key in properties]
    return lists + [case["activities"] for case in properties.get("cases", [])]


def all_activities(activities: list[Json]) -> list[Json]:
    """These activities and those in them."""
    found = []
    for activity in activities:
        found.append(activity)
        for inner in children(activity):
            found += all_activities(inner)
    return found


def expressions(value: Any) -> list[str]:
    """Every expression in a value."""
    if isinstance(value, list):
        return [found for each in value for found in expressions(each)]
    if not isinstance(value, dict):
        return []
    if value.get("type") == "Expression":
        return [text_of(value)]
    return [found for each in value.values() for found in expressions(each)]
