"""The scheduler: accepts jobs, answers queries about them, cancels and retries them, and wakes the watchers."""
