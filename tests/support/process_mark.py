"""The environment variable that marks every process that a test starts; a file of its own, because bin/bench has no pytest."""

MARK = "JOBYARD_TEST"
