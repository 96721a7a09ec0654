"""Hooks: when a job that its filter selects comes to an event, a job is submitted.

    change of a job ──▶ events_of ──▶ hooks that select it ──▶ one delivery job each, with an id that follows from hook and event

A store makes the delivery jobs: in the commit of the change (SQLite), or from a mark in the changed document (MongoDB). So whatever
dies in between, each selected event makes exactly one. `hook` is the row, `events` the rules; the built-in task `webhook`
(`engine/tasks/webhook.py`) sends a delivery, and a worker gives it the hook's url and secrets for each try.
"""
