"""What the author of a task uses: the decorator, the current job, the built-in tasks."""
