"""Contracts between the API, the workflows and the activities: what goes in, what comes out, under which name."""
