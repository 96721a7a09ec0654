"""The watcher: claims due jobs and pushes them to the queue; recovers the jobs of dead owners and removes old ones."""
