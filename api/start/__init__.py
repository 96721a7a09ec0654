"""From a command line to running processes, and back: settings, checks, roles, launch, stop."""
