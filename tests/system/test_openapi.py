"""The program conforms to its OpenAPI document: of requests generated from it the valid ones are accepted, the invalid ones
refused, and every answer is one that the document describes."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from jobyard.api.http.openapi import document
from tests.support.system import Jobyard

SEED = 20260104
EXAMPLES = 60
CURSOR = "^[0-9]{1,15}-[0-9]{1,15}$"


def document_of_a_start() -> dict[str, Any]:
    """The document, with additions that it cannot know: the tasks, and the form of this database's cursors."""
    completed: dict[str, Any] = json.loads(document())
    completed["components"]["schemas"]["NewJob"]["properties"]["task"]["enum"] = ["echo", "http"]
    for path in ("/jobs", "/api/jobs"):
        cursor = next(row for row in completed["paths"][path]["get"]["parameters"] if row["name"] == "cursor")
        cursor["schema"]["pattern"] = CURSOR
    completed["components"]["schemas"]["Selection"]["properties"]["cursor"]["pattern"] = CURSOR
    return completed


GENERATION = ProjectsConfig(default=ProjectConfig(generation=GenerationConfig(deterministic=True)))
schema = schemathesis.openapi.from_dict(document_of_a_start(), config=SchemathesisConfig(seed=SEED, projects=GENERATION))


@schema.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Integers without a decimal point (to JSON Schema, 5.0 is one) and within 64 bits (which only the description says)."""
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    if isinstance(body, float) and body.is_integer() and abs(body) < 1 << 53:
        return int(body)
    return body if type(body) is not int else max(-1 << 63, min(body, (1 << 63) - 1))


@schemathesis.serializer("application/x-ndjson")
def lines(context: schemathesis.SerializationContext, body: Any) -> bytes:
    """One item per line; anything but a list becomes one line that is not a job."""
    return b"\n".join(json.dumps(line).encode() for line in (body if isinstance(body, list) else [[body]]))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
def test_every_answer_conforms_to_the_document(small: Jobyard, case: schemathesis.Case) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{small.port()}")
