"""The app that brings the command `manage.py jobyard`."""

from __future__ import annotations

from django.apps import AppConfig


class JobyardConfig(AppConfig):
    """`"jobyard.django"` in INSTALLED_APPS."""

    name = "jobyard.django"
    label = "jobyard"
    verbose_name = "Jobyard"
