"""The text of the page: every request of the gateway with its parameters, body and answers, then the schemas that they use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from jobyard.api.http.openapi import document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "http.md"
HEAD = """# The HTTP interface

This page is generated from the OpenAPI document by `make reference`; do not edit it. Programs can read the document itself at
`http://localhost:8080/openapi.json`. See also [examples](http-examples.md). Every error has the schema `Error`. Besides the answers
below, any request may get: {everywhere}.
"""
BOUNDS = {
    "minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "minLength": "length ≥", "maxLength": "length ≤",
    "maxItems": "at most",
}  # fmt: skip

Schema = dict[str, Any]


def text() -> str:
    """The whole page."""
    described: Schema = msgspec.json.decode(document())
    everywhere = _everywhere(described["paths"])
    errors = ", ".join(f"{status} ({meaning[0].lower()}{meaning[1:]})" for status, meaning in everywhere.items())
    parts = [HEAD.format(everywhere=errors)]
    for path, methods in described["paths"].items():
        parts += [_request(method.upper(), path, operation, set(everywhere)) for method, operation in methods.items()]
    parts.append("## Schemas\n")
    parts += [_shape(name, schema) for name, schema in described["components"]["schemas"].items()]
    return "\n".join(parts)


def _everywhere(paths: Schema) -> dict[str, str]:
    """The errors that every request may get, with their descriptions."""
    all_answers = [operation["responses"] for methods in paths.values() for operation in methods.values()]
    common = set.intersection(*(set(answers) for answers in all_answers))
    return {status: all_answers[0][status]["description"] for status in sorted(common) if status >= "400"}


def _request(method: str, path: str, operation: Schema, everywhere: set[str]) -> str:
    said, more = f"{operation['summary']}.", operation["description"]
    lines = [f"## {method} {path}\n", said + ("" if more == said else f" {more}") + "\n"]
    if operation["parameters"]:
        lines += ["| parameter | in | type | description |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{row['name']}`{' (required)' if row['required'] else ''} | {row['in']} | {_words(row['schema'])} "
            f"| {row.get('description', '')} |"
            for row in operation["parameters"]
        ]
        lines.append("")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"Body, `{kind}`: {_words(content['schema'])}.\n")
    lines += ["| answer | when | body |", "| --- | --- | --- |"]
    lines += [
        f"| {status} | {answer['description']} | {_content(answer)} |"
        for status, answer in sorted(operation["responses"].items())
        if status not in everywhere
    ]
    return "\n".join([*lines, ""])


def _content(answer: Schema) -> str:
    return " or ".join(
        f"{_words(content.get('schema', {}))}{'' if kind == 'application/json' else f' (`{kind}`)'}"
        for kind, content in answer.get("content", {}).items()
    )


def _shape(name: str, schema: Schema) -> str:
    lines = [f"### {name}\n"]
    if "properties" not in schema:
        return "\n".join([*lines, f"{_words(schema)}.\n"])
    lines += ["| field | type | description |", "| --- | --- | --- |"]
    lines += [f"| `{field}` | {_words(row)} | {row.get('description', '')} |" for field, row in schema["properties"].items()]
    return "\n".join([*lines, ""])


def _words(schema: Schema) -> str:
    """A short description of a schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(_words(one) for one in schema[choice])
    if "enum" in schema:
        return "one of " + " ".join(f"`{value}`" for value in schema["enum"])
    return ", ".join(_traits(schema)) or "anything"


def _traits(schema: Schema) -> Iterator[str]:
    kind = schema.get("type", "")
    yield from filter(None, [" or ".join(kind) if isinstance(kind, list) else kind])
    if "items" in schema:
        yield f"each {_words(schema['items'])}"
    if "format" in schema:
        yield schema["format"]
    if "pattern" in schema:
        yield f"`{schema['pattern']}`".replace("|", "\\|")
    yield from (f"{sign} {schema[bound]}" for bound, sign in BOUNDS.items() if bound in schema)
    if "default" in schema:
        yield f"default {json.dumps(schema['default'])}"
