"""The executor: the child process that calls tasks one at a time and isolates each job from the next."""
