"""What a job is: its values, state machine, submission, selection and owners. Pure: no clock and no database."""
