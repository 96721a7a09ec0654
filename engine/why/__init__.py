"""Explains why a job is not running: the facts needed and the rules that turn them into reasons. Pure: performs no I/O."""
