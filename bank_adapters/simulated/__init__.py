"""The adapter of the simulated bank: the port over its HTTP API. It shares no code with the bank itself."""
