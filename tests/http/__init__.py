"""The HTTP contract, word for word: the real apps over real roles on a real store, without sockets or processes."""
