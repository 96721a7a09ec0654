"""Several hosts on one database: a host's lease on the jobs it holds, and the detection of failed hosts."""
