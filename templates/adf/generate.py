#!/usr/bin/env python3
"""Makes every form of the Data Factory templates from one pipeline a style.

    templates/adf/generate.py            writes generated/
    templates/adf/generate.py --check    fails when generated/ is not what it would write

A style's source reads the token from Key Vault. Derived from it: the token as a secure pipeline parameter, and the
factory's managed identity instead of a token.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "generated"
STYLES = ("poll", "callback", "async")

VAULT_ACTIVITY = "GetToken"
FROM_VAULT = "activity('GetToken').output.value"
FROM_PARAMETER = "pipeline().parameters.token"
VAULT_PARAMETERS = ("keyVaultUrl", "tokenSecretName")

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
API_VERSION = "2018-06-01"
ARM_TYPES = {"String": "string", "Int": "int", "Object": "object"}
"""Types of pipeline parameters, and of a deployment's. Secure ones stay the pipeline's: a default would be stored."""

IMAGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 240" width="400px" height="240px">'
    '<rect x="60" y="80" width="280" height="80" rx="6" fill="#f4f4f4" stroke="#c8c8c8"/>'
    '<text x="200" y="127" text-anchor="middle" font-family="Segoe UI" font-size="22">Haulier job</text></svg>'
)

Json = Any


def without_vault(pipeline: Json) -> Json:
    """The pipeline without the activity that reads Key Vault, and what belongs to it."""
    pipeline = copy.deepcopy(pipeline)
    properties = pipeline["properties"]
    properties["activities"] = [each for each in properties["activities"] if each["name"] != VAULT_ACTIVITY]
    for activity in properties["activities"]:
        activity["dependsOn"] = [each for each in activity["dependsOn"] if each["activity"] != VAULT_ACTIVITY]
    for name in VAULT_PARAMETERS:
        del properties["parameters"][name]
    return pipeline


def with_token_parameter(pipeline: Json) -> Json:
    """The pipeline with the token as a secure parameter instead of a secret in Key Vault."""
    pipeline = json.loads(json.dumps(without_vault(pipeline)).replace(FROM_VAULT, FROM_PARAMETER))
    pipeline["properties"]["parameters"]["token"] = {"type": "SecureString"}
    return pipeline


def with_managed_identity(pipeline: Json) -> Json:
    """The pipeline whose factory shows the service who it is: there is no token to keep."""
    pipeline = without_vault(pipeline)
    show_identity(pipeline["properties"])
    pipeline["properties"]["parameters"]["tokenAudience"] = {"type": "String", "defaultValue": "api://haulier"}
    return pipeline


def show_identity(value: Json) -> None:
    """Replaces the token by the identity, in all requests below this."""
    if isinstance(value, list):
        for each in value:
            show_identity(each)
    if isinstance(value, dict):
        if value.get("headers", {}).pop("Authorization", None):
            resource = {"value": "@pipeline().parameters.tokenAudience", "type": "Expression"}
            value["authentication"] = {"type": "MSI", "resource": resource}
            if not value["headers"]:
                del value["headers"]
        for each in value.values():
            show_identity(each)


def escaped(value: Json) -> Json:
    """The value as a deployment template takes it: a text that begins with a bracket would be an expression there."""
    if isinstance(value, str):
        return f"[{value}" if value.startswith("[") else value
    if isinstance(value, list):
        return [escaped(each) for each in value]
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    return value


def deployment(pipeline: Json, parameters: Json, properties: Json) -> Json:
    """A template that deploys a pipeline with these properties."""
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {
            "factoryName": {"type": "string", "metadata": {"description": "The data factory's name"}},
            **parameters,
        },
        "resources": [
            {
                "name": f"[concat(parameters('factoryName'), '/{pipeline['name']}')]",
                "type": "Microsoft.DataFactory/factories/pipelines",
                "apiVersion": API_VERSION,
                "properties": properties,
                "dependsOn": [],
            }
        ],
    }


def arm(pipeline: Json) -> Json:
    """A deployment whose own parameters become the defaults of the pipeline's."""
    properties = escaped(copy.deepcopy(pipeline["properties"]))
    parameters = {}
    for name, parameter in properties["parameters"].items():
        if parameter["type"] in ARM_TYPES:
            parameters[name] = {"type": ARM_TYPES[parameter["type"]], "defaultValue": parameter["defaultValue"]}
            parameter["defaultValue"] = f"[parameters('{name}')]"
    return deployment(pipeline, parameters, properties)


def manifest(pipeline: Json) -> Json:
    """What Data Factory Studio shows of a template that is imported."""
    return {
        "name": pipeline["name"],
        "description": pipeline["properties"]["description"],
        "image": IMAGE,
        "icons": ["WebActivity"],
        "requires": {},
        "annotations": ["Haulier"],
        "services": [],
        "categories": ["General"],
        "author": "Haulier",
    }


def forms(style: str) -> dict[str, Json]:
    """Every file of a style, by its path in generated/."""
    source = json.loads((HERE / f"{style}.json").read_text())
    files = {}
    variants = {
        "key-vault": source,
        "parameter": with_token_parameter(source),
        "managed-identity": with_managed_identity(source),
    }
    for token, pipeline in variants.items():
        folder = f"{style}-{token}"
        files[f"{folder}/pipeline.json"] = pipeline
        files[f"{folder}/arm.json"] = arm(pipeline)
        files[f"{folder}/gallery/{pipeline['name']}.json"] = deployment(pipeline, {}, escaped(pipeline["properties"]))
        files[f"{folder}/gallery/manifest.json"] = manifest(pipeline)
    return files


def main() -> int:
    """Writes, or checks."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="only say whether the files are what they should be")
    check = arguments.parse_args().check
    wanted = {
        path: f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"
        for style in STYLES
        for path, content in forms(style).items()
    }
    present = {str(path.relative_to(GENERATED)): path.read_text() for path in GENERATED.rglob("*.json")}
    stale = sorted(path for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path))
    if check:
        for path in stale:
            print(f"generated/{path} is stale: run templates/adf/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            (GENERATED / path).parent.mkdir(parents=True, exist_ok=True)
            (GENERATED / path).write_text(wanted[path])
        else:
            (GENERATED / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
