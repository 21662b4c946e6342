"""What the command line does beyond running a role: prepare, keys, verify, demo."""
