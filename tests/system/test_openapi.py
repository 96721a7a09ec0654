"""The program conforms to its OpenAPI document: of requests generated from it the valid ones are accepted, the invalid ones
refused, and every answer is one that the document describes."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import allow_header_conformance, positive_data_acceptance, unsupported_method
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from jobyard.api.http.openapi import document
from jobyard.engine.store.bounds import SQLITE_CURSOR
from tests.support.system import Jobyard

SEED = 20260104
EXAMPLES = 60
DOCUMENT = json.loads(document(tasks=("echo", "http"), cursor=SQLITE_CURSOR))
"""As a service on the embedded database serves it that has no tasks but the built-in ones."""
GENERATION = ProjectsConfig(default=ProjectConfig(generation=GenerationConfig(deterministic=True)))
schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig(seed=SEED, projects=GENERATION))


@schema.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Integers within 64 bits, which of payloads only the description says."""
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    return body if type(body) is not int else max(-1 << 63, min(body, (1 << 63) - 1))


@schemathesis.serializer("application/x-ndjson")
def lines(context: schemathesis.SerializationContext, body: Any) -> bytes:
    """One item per line; anything but a list becomes one line that is not a job."""
    return b"\n".join(json.dumps(line).encode() for line in (body if isinstance(body, list) else [[body]]))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
def test_every_answer_conforms_to_the_document(small: Jobyard, case: schemathesis.Case) -> None:
    # Only descriptions say what a cron expression is, that every_s excludes it, which numbers of a limit go together, that what
    # after and limit name must exist, and that ref is for batches. The name of a limit may have a slash: `x/pause` could be one.
    told, path = json.dumps(case.body, default=repr), case.operation.path
    in_words = ('"after"', '"limit"', '"ref"')
    is_described = path.startswith(("/api/schedules", "/api/limits")) or any(field in told for field in in_words)
    excluded = [positive_data_acceptance] if is_described else []
    excluded += [unsupported_method, allow_header_conformance] if path.startswith("/api/limits") else []
    case.call_and_validate(base_url=f"http://127.0.0.1:{small.port()}", excluded_checks=excluded)


def test_a_service_describes_its_own_tasks_and_cursors(small: Jobyard) -> None:
    tasks = tuple(row["task"] for row in small.get("/api/tasks").json)

    assert small.get("/openapi.json").json == json.loads(document(tasks=tasks, cursor=SQLITE_CURSOR))
