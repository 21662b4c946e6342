"""Workflows decide: deterministic code only, activities by name, nothing that opens a socket."""
