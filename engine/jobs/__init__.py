"""What a job is: its values, its state machine, how it is submitted, selected and owned. Pure: no clock, no database."""
