"""One run: its directory, its parts, its moves, what it logs and shows."""
