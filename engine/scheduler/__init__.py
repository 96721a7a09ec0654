"""The scheduler: accepts jobs, answers questions about them, cancels and retries them, wakes the watchers."""
