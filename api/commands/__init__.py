"""The commands of `bin/jobyard`: each reads its words, asks the service over HTTP, and shows what came; no rule of the scheduler.

What all share: `connection` (which service, errors, exit statuses), `show` (JSON, tables, colours), `moments` (times for people).
"""
