"""Which database the settings name: opening, preparing and examining it, and copying everything from one to another."""
