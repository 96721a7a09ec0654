"""What a schedule is: its fields, the cron rule, fire times, and what becomes of a fire. Pure: no clock and no database."""
