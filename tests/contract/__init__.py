"""What `engine/store/port.py` promises, tested on every store: a second adapter adds one line to `conftest.STORES`."""
