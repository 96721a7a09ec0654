"""One module for each resource: read the request, ask one component, reply."""
