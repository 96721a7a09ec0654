"""The queue: hands queued jobs to workers by priority, then age, each under a lease. In memory; the store is authoritative."""
