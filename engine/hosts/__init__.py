"""Several hosts on one database: a host's lease on what it holds, and the detection of hosts that have failed."""
