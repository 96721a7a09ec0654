"""For Django projects: `submit_on_commit`, and as an entry of INSTALLED_APPS (`"jobyard.django"`) the command `manage.py jobyard`.

Tasks need none of it: with DJANGO_SETTINGS_MODULE in the environment, Django is set up before the modules of TASKS are imported,
and `TASKS=django:` finds the `tasks.py` of the installed apps. See docs/django.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from django.db import transaction

from jobyard.engine.client.batches import encode_job, fields_of
from jobyard.engine.client.default import default_client
from jobyard.engine.client.values import JobOptions, P, WithParameters

X = TypeVar("X")

__all__ = ["submit_on_commit"]


@overload
def submit_on_commit(task: WithParameters[P], *args: P.args, **kwargs: P.kwargs) -> None: ...


@overload
def submit_on_commit(task: Callable[[X], Any], payload: X, **options: Unpack[JobOptions]) -> None: ...


def submit_on_commit(task: Any, *args: Any, **kwargs: Any) -> None:
    """Submit the job when the current transaction is committed, or now if there is none; never if it is rolled back.

    It takes what `task.submit` takes. Arguments that do not fit raise `TypeError` here. The payload is that of this moment.
    """
    fields = fields_of(task, args, kwargs)
    encode_job(fields)
    name, payload, options = fields.pop("task"), fields.pop("payload"), fields
    transaction.on_commit(lambda: default_client().submit(str(getattr(name, "name", name)), payload, **options))
