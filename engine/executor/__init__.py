"""The executor: the child process that calls tasks, one at a time, and keeps one job from affecting the next."""
