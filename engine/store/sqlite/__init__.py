"""The store on an embedded SQLite file, shared by the processes of one host."""
