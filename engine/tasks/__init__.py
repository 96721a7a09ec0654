"""What authors of tasks use: the decorator, the current job, the built-in tasks."""
