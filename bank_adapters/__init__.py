"""Outside money: the port every bank is reached through, the registry of banks, and one folder per bank."""
