"""The simulation of the rails: a month of payments, drawn from a seed, on the real servers, checked every day."""
