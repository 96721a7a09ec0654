"""The engine: jobs, the store they are kept in, and the processes that schedule, queue and run them. It knows no HTTP."""
