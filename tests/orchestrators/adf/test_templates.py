"""What Data Factory demands of a pipeline, checked without running it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from azure.mgmt.datafactory import models

from adf.support.expressions import LONGEST_EXPRESSION
from adf.support.templates import VARIANTS, all_activities, children, expressions, folder, pipeline

Json = dict[str, Any]

FUNCTIONS = {"and", "coalesce", "concat", "empty", "equals", "first", "if", "json", "or", "replace", "string"} | {
    "uriComponent",
    "activity",
    "pipeline",
}
"""Those of Data Factory's documentation that are used. The language on .NET knows more, which Data Factory refuses."""
NESTABLE = {"WebActivity", "SetVariable", "Fail"}
"""What is used inside of containers: Data Factory refuses containers there."""
SYSTEM_VARIABLES = {"DataFactory", "Pipeline", "RunId", "parameters"}

each_variant = pytest.mark.parametrize(("style", "token"), VARIANTS)


@each_variant
def test_the_limits_are_kept(style: str, token: str) -> None:
    properties = pipeline(style, token)["properties"]
    activities = all_activities(properties["activities"])
    assert len(activities) <= 120
    assert len(properties["parameters"]) <= 50
    assert all(len(each) <= LONGEST_EXPRESSION for each in expressions(properties))
    names = [each["name"] for each in activities]
    assert len(set(names)) == len(names)
    for activity in activities:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_ ]{0,54}", activity["name"])
        for inner in children(activity):
            assert {each["type"] for each in inner} <= NESTABLE
        assert len(activity["typeProperties"].get("cases", [])) <= 25
        policy = activity.get("policy", {})
        assert 30 <= policy.get("retryIntervalInSeconds", 30) <= 86400


@each_variant
def test_a_lease_outlives_the_pauses_of_the_poll(style: str, token: str) -> None:
    properties = pipeline(style, token)["properties"]
    lease = properties["parameters"].get("leaseSeconds", {}).get("defaultValue")
    if style == "callback":
        assert lease is None, "nobody asks for the run: a lease would end it"
        return
    assert lease >= 900
    for activity in all_activities(properties["activities"]):
        if activity["name"] == "GetRun":
            policy = activity["policy"]
            assert policy["retry"] * policy["retryIntervalInSeconds"] < lease


@each_variant
def test_expressions_are_objects_and_use_what_there_is(style: str, token: str) -> None:
    properties = pipeline(style, token)["properties"]
    for text in _texts(properties):
        assert not text.startswith("@"), "Data Factory takes it for a text"
        assert "@{" not in text
    for expression in expressions(properties):
        code = re.sub(r"'(?:[^']|'')*'", "''", expression)
        assert set(re.findall(r"([A-Za-z]+)\(", code)) <= FUNCTIONS, expression
        assert set(re.findall(r"pipeline\(\)\.(\w+)", expression)) <= SYSTEM_VARIABLES
        used = set(re.findall(r"pipeline\(\)\.parameters\.(\w+)", expression))
        assert used <= properties["parameters"].keys(), expression
    asked = {name for each in expressions(properties) for name in re.findall(r"\.parameters\.(\w+)", each)}
    assert asked == properties["parameters"].keys(), "a parameter that nobody reads"


@each_variant
def test_activities_refer_only_to_those_before_them(style: str, token: str) -> None:
    def check(activities: list[Json], around: set[str]) -> None:
        before: dict[str, set[str]] = {}
        while len(before) < len(activities):
            for activity in activities:
                names = [each["activity"] for each in activity["dependsOn"]]
                if all(name in before for name in names):
                    before[activity["name"]] = set(names).union(*(before[name] for name in names))
        for activity in activities:
            known = around | before[activity["name"]]
            inner_lists = children(activity)
            for inner in inner_lists:
                check(inner, known)
            if activity["type"] == "Until":
                known |= {each["name"] for each in inner_lists[0]}
            own = {key: value for key, value in activity["typeProperties"].items() if key not in CONTAINERS}
            text = " ".join(expressions(own))
            assert set(re.findall(r"activity\('(\w+)'\)", text)) <= known, activity["name"]

    check(pipeline(style, token)["properties"]["activities"], set())


CONTAINERS = ("activities", "cases", "defaultActivities")


@each_variant
def test_secrets_are_kept_out_of_monitoring(style: str, token: str) -> None:
    properties = pipeline(style, token)["properties"]
    assert ("token" in properties["parameters"]) == (token == "parameter")
    if token == "parameter":
        assert properties["parameters"]["token"] == {"type": "SecureString"}
    for activity in all_activities(properties["activities"]):
        headers = activity["typeProperties"].get("headers", {})
        if "Authorization" in headers:
            assert activity["policy"]["secureInput"] is True
        if activity["name"] == "GetToken":
            assert activity["policy"]["secureOutput"] is True


@each_variant
def test_no_key_is_misspelt(style: str, token: str) -> None:
    for path in ("pipeline.json", "arm.json"):
        value = json.loads((folder(style, token) / path).read_text())
        properties = value.get("properties") or value["resources"][0]["properties"]
        _check_model(models.PipelineResource({"properties": properties}), {"properties": properties}, path)
        types = {each.value for each in models.ParameterType}
        assert {each["type"] for each in properties["parameters"].values()} <= types


@each_variant
def test_each_form_holds_the_same_pipeline(style: str, token: str) -> None:
    plain = pipeline(style, token)
    name = plain["name"]
    gallery = json.loads((folder(style, token) / "gallery" / f"{name}.json").read_text())
    arm = json.loads((folder(style, token) / "arm.json").read_text())
    manifest = json.loads((folder(style, token) / "gallery" / "manifest.json").read_text())
    assert manifest["name"] == name
    assert manifest["requires"] == {}
    assert gallery["parameters"].keys() == {"factoryName"}
    for template in (gallery, arm):
        (resource,) = template["resources"]
        assert resource["name"] == f"[concat(parameters('factoryName'), '/{name}')]"
        assert resource["properties"]["activities"] == plain["properties"]["activities"]
        brackets = set(re.findall(r'"(\[[^"]*)"', json.dumps(resource["properties"])))
        assert brackets <= {f"[parameters('{each}')]" for each in template["parameters"]}
    defaults = {each: arm["parameters"][each]["defaultValue"] for each in arm["parameters"].keys() - {"factoryName"}}
    known = plain["properties"]["parameters"]
    assert defaults == {each: known[each]["defaultValue"] for each in known if each != "token"}


@pytest.mark.parametrize("holder", ["activity", "typeProperties", "policy"])
def test_the_walk_through_the_models_finds_misspelt_keys(holder: str) -> None:
    for index in range(len(all_activities(pipeline("poll")["properties"]["activities"]))):
        value = pipeline("poll")
        activity = all_activities(value["properties"]["activities"])[index]
        target = activity if holder == "activity" else activity.get(holder)
        if target is not None:
            target["misspelt"] = True
            with pytest.raises(AssertionError, match="misspelt"):
                _check_model(models.PipelineResource(value), value, "pipeline")


def _texts(value: Any) -> list[str]:
    """Every text that is no expression."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict) and value.get("type") != "Expression":
        return [text for each in value.values() for text in _texts(each)]
    return []


def _check_model(model: Any, raw: Json, where: str) -> None:
    """Every key of `raw` is one that Microsoft's model knows, all the way down."""
    fields = {each._rest_name: attribute for attribute, each in model._attr_to_rest_field.items()}
    unknown = raw.keys() - fields.keys()
    assert not unknown, f"{where}: {unknown} of {type(model).__name__}"
    for key, value in raw.items():
        _check_value(getattr(model, fields[key]), value, f"{where}/{key}")


def _activity_models(base: Any = models.Activity) -> Json:
    """The model of each type of activity. Reading a pipeline finds those that derive from `Activity` at once only."""
    found = dict(base.__mapping__)
    for derived in base.__subclasses__():
        found |= _activity_models(derived)
    return found


def _check_value(typed: Any, raw: Any, where: str) -> None:
    if isinstance(typed, models.Activity):
        typed = _activity_models()[raw["type"]](raw)
    if hasattr(typed, "_attr_to_rest_field"):
        _check_model(typed, raw, where)
    elif isinstance(typed, list):
        for index, (each, value) in enumerate(zip(typed, raw, strict=True)):
            _check_value(each, value, f"{where}/{index}")
    elif isinstance(typed, dict):
        for key, value in raw.items():
            _check_value(typed[key], value, f"{where}/{key}")
