"""Operators at work: runbooks done as they are written, in a real browser and a real shell."""
