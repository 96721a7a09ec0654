"""The database that the settings name: opening, preparing and examining it, and migrating everything from one to another."""
