"""The pytest fixture: a Jobyard without processes, database or network, which runs jobs when it is told to."""
