"""The HTTP side: the front that serves it, the views behind it, how everything is started, and the commands."""
