"""Data between processes: messages, their frames, the sockets that carry them."""
