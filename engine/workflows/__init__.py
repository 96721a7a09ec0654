"""Jobs that wait for other jobs: what becomes of them when they are accepted, and when what they wait for ends or lives again."""
