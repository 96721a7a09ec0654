"""The HTTP contract: the real apps over real roles on a real store, without sockets or processes."""
