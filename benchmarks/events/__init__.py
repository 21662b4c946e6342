"""How long an event is on its way, how fast what waited is made good, and what the relay costs the database."""
