"""The engine: jobs, the store that holds them, and the processes that schedule, queue and run them. Nothing here knows HTTP."""
