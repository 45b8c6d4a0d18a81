#!/usr/bin/env python3
"""Makes `haulier/client/models.py` from the service's OpenAPI document.

Run it with the packages of the dependency group `generate`, after the document has changed:

    python scripts/generate_models.py            writes the file
    python scripts/generate_models.py --check    says whether it is what the document makes
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[2] / "openapi" / "openapi.json"
MODELS = HERE.parent / "src" / "haulier" / "client" / "models.py"

HEADER = '''"""What goes over the wire. Made from the OpenAPI document by `scripts/generate_models.py`: do not edit."""

# The defaults of nested models stand as plain values.
# mypy: disable-error-code="assignment"
'''

# What the client reads and writes; all that these refer to comes along.
ROOTS = (
    "JobSpec",
    "JobView",
    "LogRecord",
    "Page_JobView",
    "Page_RunView",
    "Problem",
    "RunRequest",
    "RunView",
    "WhoAmI",
)
# The service checks these, and may loosen them before this client knows.
CONSTRAINTS = ("additionalProperties", "pattern", "propertyNames", "minimum", "maximum", "example")
REFERENCE = "#/components/schemas/"


def tolerant(schema: Any) -> Any:
    """The schema as a client should read it: a newer service may say what this one does not know yet."""
    if isinstance(schema, list):
        return [tolerant(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: tolerant(value) for key, value in schema.items() if key not in CONSTRAINTS or key_is_meant(key, schema)
    }
    if kept.get("format") == "uuid":
        kept.pop("format")
    if kept.pop("writeOnly", False):
        # Makes it a `SecretStr`, which does not print.
        kept["format"] = "password"
    if "enum" in kept:
        known = {"type": "string", "enum": kept.pop("enum")}
        kept.pop("type")
        kept["anyOf"] = [known, {"type": "string"}]
    return kept


def key_is_meant(key: str, schema: dict[str, Any]) -> bool:
    """Whether the key says what values a map holds, not that nothing else is allowed."""
    return key == "additionalProperties" and isinstance(schema[key], dict)


def prepared(document: dict[str, Any]) -> dict[str, Any]:
    """The schemas that the client needs, made tolerant, with pages that refer to what they list."""
    schemas = tolerant(document["components"]["schemas"])
    for name, schema in schemas.items():
        if name.startswith("Page_"):
            schema["properties"]["items"]["items"] = {"$ref": REFERENCE + name.removeprefix("Page_")}
    needed: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(references(schemas[name]))
    kept = {name: schemas[name] for name in sorted(needed)}
    return {"openapi": "3.1.0", "info": document["info"], "paths": {}, "components": {"schemas": kept}}


def references(schema: Any) -> list[str]:
    """The names of all schemas that this one refers to."""
    if isinstance(schema, dict):
        own = [schema["$ref"].removeprefix(REFERENCE)] if "$ref" in schema else []
        return own + references(list(schema.values()))
    return [name for each in schema for name in references(each)] if isinstance(schema, list) else []


def generate() -> str:
    """The text of the models."""
    with tempfile.TemporaryDirectory() as directory:
        source, made = Path(directory, "openapi.json"), Path(directory, "models.py")
        # Else the formatter takes what it finds in a folder above.
        Path(directory, "ruff.toml").write_text('line-length = 120\ntarget-version = "py39"\n')
        source.write_text(json.dumps(prepared(json.loads(DOCUMENT.read_text()))))
        options = [
            *("--input", str(source), "--input-file-type", "openapi", "--output", str(made)),
            *("--output-model-type", "pydantic_v2.BaseModel", "--target-python-version", "3.10"),
            *("--no-use-union-operator", "--use-standard-collections", "--collapse-root-models", "--use-annotated"),
            *("--enum-field-as-literal", "all", "--extra-fields", "allow", "--output-datetime-class", "datetime"),
            "--use-schema-description",
            *("--disable-timestamp", "--use-double-quotes", "--custom-file-header", HEADER),
            *("--formatters", "ruff-format"),
        ]
        subprocess.run([sys.executable, "-m", "datamodel_code_generator", *options], check=True, cwd=HERE.parent)
        return made.read_text()


def main() -> int:
    """Writes or checks."""
    text = generate()
    if "--check" not in sys.argv[1:]:
        MODELS.write_text(text)
        return 0
    if MODELS.read_text() == text:
        return 0
    print(f"{MODELS.name} is not what the document makes: run {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
