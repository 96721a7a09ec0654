"""`python manage.py jobyard …`: the command `jobyard` with this project's settings, and its tasks by default."""

from __future__ import annotations

import os
import sys

from django.conf import ENVIRONMENT_VARIABLE
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Hands its words to `jobyard` as they are."""

    help = "Run jobyard with this project's settings: `manage.py jobyard start-all`, `manage.py jobyard stats`, …"
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Become `python -m jobyard …`: no process of Jobyard's needs Django but the one that imports the tasks."""
        environment = os.environ | {"TASKS": os.environ.get("TASKS", "django:"), "TASK_PYTHON": sys.executable}
        assert ENVIRONMENT_VARIABLE in environment, "manage.py has set it"
        os.execve(sys.executable, [sys.executable, "-m", "jobyard", *argv[2:]], environment)

    def handle(self, *args: object, **options: object) -> None:
        """`call_command("jobyard", "stats")`."""
        self.run_from_argv(["manage.py", "jobyard", *map(str, args)])
