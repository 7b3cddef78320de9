"""State on disk: the SQLite database and the locks on objects."""
