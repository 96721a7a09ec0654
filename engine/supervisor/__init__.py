"""The supervisor: starts, watches, restarts and stops all processes of a start, and proves that owners are dead."""
