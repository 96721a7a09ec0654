"""What a task gets of its payload, by the signature of its function.

| the function has | it gets |
| --- | --- |
| one positional parameter | the payload whole |
| keyword-only parameters | the payload's fields by name, checked and converted by their annotations |
| no parameter | nothing |

Annotations are read when they are first needed: so a type may be defined below the task, and `check` tells of what is wrong
with them once the module has been imported. Standard library only, but for `rich_types`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from jobyard.engine.jobs.json_text import NotJson, to_json_text
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.tasks import plain_types
from jobyard.engine.tasks.plain_types import WrongValue

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
MAX_SHOWN = 10


class WrongArguments(TypeError):
    """The payload does not fit the task's parameters; the text names the fields."""


@dataclass(frozen=True, slots=True)
class WholePayload:
    """The one positional parameter gets the payload. `name`: the parameter's, None where the function does not tell it."""

    name: str | None = None

    def bind(self, function: Callable[..., Any], payload: object) -> Callable[[], Any]:
        """The call."""
        return functools.partial(function, payload)

    def check(self) -> None:
        """Nothing can be wrong."""

    def schema(self) -> None:
        """Any payload will do."""


@dataclass(frozen=True, slots=True)
class NoParameters:
    """The function gets nothing, whatever the payload is."""

    def bind(self, function: Callable[..., Any], payload: object) -> Callable[[], Any]:
        """The call."""
        return function

    def check(self) -> None:
        """Nothing can be wrong."""

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One keyword-only parameter. `schema`: without definitions, which are the whole's."""

    name: str
    is_required: bool
    convert: Callable[[object], object]
    schema: dict[str, Any]


class FieldParameters:
    """The payload is an object; its fields are the keyword-only parameters. `takes_any`: the function has `**names` too."""

    def __init__(self, function: Callable[..., Any], *, task: str, rows: Sequence[Parameter], takes_any: bool) -> None:
        self.task = task
        self.takes_any = takes_any
        self._function = function
        self._rows = rows
        self._fields: dict[str, Field] | None = None
        self._definitions: dict[str, Any] = {}

    def bind(self, function: Callable[..., Any], payload: object) -> Callable[[], Any]:
        """The call with converted arguments; raises `WrongArguments`."""
        return functools.partial(function, **self.arguments(payload))

    def arguments(self, payload: object) -> dict[str, object]:
        """Of the fields that were given; the function has its own defaults for the others. Raises `WrongArguments`."""
        fields = self.fields()
        given = {} if payload is None else payload
        if not isinstance(given, dict):
            names = ", ".join(fields) or "any name"
            raise WrongArguments(f"the payload of task {self.task!r} must be an object with the fields {names}, not {shown(given)}")
        arguments, wrong = {}, []
        for name, value in given.items():
            row = fields.get(name)
            try:
                arguments[name] = value if row is None else row.convert(value)
            except WrongValue as fault:
                wrong.append(f"{name}{fault.path}: {fault.words}")
            if row is None and not self.takes_any:
                wrong.append(f"{name}: unknown; known: {', '.join(fields)}")
        wrong += [f"{row.name}: missing" for row in fields.values() if row.is_required and row.name not in given]
        if wrong:
            raise WrongArguments(f"arguments of task {self.task!r}: {'; '.join(wrong[:MAX_SHOWN])}")
        return arguments

    def check(self) -> None:
        """Read the annotations; raises `TypeError` with the parameter and what would be right."""
        self.fields()

    def fields(self) -> dict[str, Field]:
        """By name; raises `TypeError`."""
        if self._fields is None:
            hints = self._hints()
            self._fields = {row.name: self._field(row, hints.get(row.name, Any)) for row in self._rows}
        return self._fields

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        fields = self.fields()
        required = [row.name for row in fields.values() if row.is_required]
        whole = {
            "type": "object", "properties": {name: row.schema for name, row in fields.items()}, "required": required,
            "additionalProperties": self.takes_any,
        }  # fmt: skip
        return whole | ({"$defs": self._definitions} if self._definitions else {})

    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(_with_annotations(self._function), include_extras=True)
        except Exception as wrong:  # whatever evaluating the user's annotation raises
            reason = f"{type(wrong).__name__}: {wrong}"
            raise TypeError(
                f"the annotations of task {self.task!r}{self._place()} cannot be read ({reason}): their types must "
                "exist at the top level of the module, not only under TYPE_CHECKING"
            ) from None

    def _field(self, row: Parameter, hint: Any) -> Field:
        convert, schema = self._rich(row.name, hint) if not plain_types.is_plain(hint) else (
            functools.partial(plain_types.convert, hint=hint), plain_types.schema(hint)
        )  # fmt: skip
        self._definitions.update(schema.pop("$defs", {}))
        is_required = row.default is Parameter.empty
        return Field(name=row.name, is_required=is_required, convert=convert, schema=_with_default(schema, row.default))

    def _rich(self, name: str, hint: Any) -> tuple[Callable[[object], object], dict[str, Any]]:
        what = f"parameter {name!r} of task {self.task!r}{self._place()} is annotated {plain_types.words_of(hint)}"
        try:
            rich = importlib.import_module("jobyard.engine.tasks.rich_types")
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] != "msgspec":
                raise
            raise TypeError(f"{what}, which needs msgspec: {sys.executable} -m pip install msgspec") from None
        try:
            return rich.converter(hint), rich.schema(hint)
        except (TypeError, NotImplementedError) as wrong:
            raise TypeError(f"{what}, which no JSON can be converted to: {wrong}") from None

    def _place(self) -> str:
        """Where the function is, for errors that are found after its module was imported."""
        code = getattr(_with_annotations(self._function), "__code__", None)
        return "" if code is None else f" ({code.co_filename}, line {code.co_firstlineno})"


Parameters = WholePayload | NoParameters | FieldParameters


def read_parameters(function: Callable[..., Any], *, task: str) -> Parameters:
    """By the function's signature; raises `TypeError` when it takes what no payload could give."""
    try:
        rows = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # such as some functions that are written in C
        return WholePayload()
    positional = [row for row in rows if row.kind in POSITIONAL]
    by_name = [row for row in rows if row.kind is Parameter.KEYWORD_ONLY]
    rest = [row for row in rows if row.kind is Parameter.VAR_POSITIONAL]
    if by_name and (positional or rest):
        raise TypeError(
            f"task {task!r} has the positional parameter {(positional + rest)[0].name!r} and the keyword-only {by_name[0].name!r}: "
            "a task has either one positional parameter, which gets the payload whole, or keyword-only ones, which get its fields"
        )
    required = [row.name for row in positional if row.default is Parameter.empty]
    if len(required) > 1:
        raise TypeError(
            f"task {task!r} has {len(required)} positional parameters ({', '.join(required)}), but gets one payload: write "
            f"`*, {', '.join(required)}` to get its fields by name"
        )
    if positional or rest:
        return WholePayload(positional[0].name if positional else None)
    if not rows:
        return NoParameters()
    takes_any = any(row.kind is Parameter.VAR_KEYWORD for row in rows)
    return FieldParameters(function, task=task, rows=by_name, takes_any=takes_any)


def _with_annotations(function: Callable[..., Any]) -> Any:
    """The function proper, below decorators that use `functools.wraps`, `functools.partial` and callable objects."""
    found: Any = inspect.unwrap(function)
    while isinstance(found, functools.partial):
        found = inspect.unwrap(found.func)
    return found if inspect.isroutine(found) or inspect.isclass(found) else type(found).__call__


def _with_default(schema: dict[str, Any], default: object) -> dict[str, Any]:
    """With the default, where it has a JSON form."""
    if default is Parameter.empty:
        return schema
    try:
        return schema | {"default": json.loads(to_json_text(default))}
    except NotJson:
        return schema
