"""Where jobs are stored: one port with the guarantees that every store gives, and its two adapters, `sqlite` and `mongo`."""
