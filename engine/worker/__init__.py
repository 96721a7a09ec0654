"""The worker: leases jobs, begins them in the store, has executors run them, settles what came of them."""
