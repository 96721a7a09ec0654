"""The watcher: claims due jobs, pushes them to the queue; recovers what dead owners held and removes what is old."""
