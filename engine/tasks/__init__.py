"""The API for authors of tasks: the decorators, the current job, and the built-in tasks."""
