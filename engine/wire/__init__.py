"""Data between processes: the messages, their frames, and the sockets that carry them."""
