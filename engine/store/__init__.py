"""Where jobs are kept: one port with the promises that every store keeps, and its two adapters, `sqlite` and `mongo`."""
