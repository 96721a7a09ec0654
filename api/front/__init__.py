"""The front: one gunicorn that serves all documented ports, its event loop, and the load balancer in front of the schedulers."""
