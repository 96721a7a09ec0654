"""Starting and stopping: command line, settings, checks, building the roles, launching the processes."""
