"""For the tests of people who have tasks: a Jobyard without processes, database and network, which runs jobs when it is told to.

`book.py` keeps the jobs by the rules of the real one, `service.py` answers a client, `inline.py` runs jobs.
"""

from engine.testing.inline import InlineJobyard

__all__ = ["InlineJobyard"]
