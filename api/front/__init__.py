"""The front: one gunicorn on all documented ports, its event loop, and the load balancer towards the schedulers."""
