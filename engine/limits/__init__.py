"""Limits: how many jobs may run, how many may begin in a while, and whether any may. Values and laws, no process."""
