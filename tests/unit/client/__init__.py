"""The client: its operations without a socket, then how two clients carry them out."""
