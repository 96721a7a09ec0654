"""What all views share: routes, query parameters, bodies, replies, guards, error handlers and the OpenAPI document."""
