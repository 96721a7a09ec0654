"""The pytest fixture: a Jobyard without processes, database or network, which runs jobs when the test asks it to."""
