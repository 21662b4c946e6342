"""Test support: the embedded servers, and the whole platform as a user starts it."""
