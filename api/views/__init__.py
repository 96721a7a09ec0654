"""The views, one module for each resource: read the request, send it to one component, reply."""
