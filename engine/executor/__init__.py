"""The executor: the child process that calls tasks, one at a time, and what it does so that no job disturbs the next."""
