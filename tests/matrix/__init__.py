"""The fault matrix: every call to a bank, under every fault, with the worker killed before, during and after it."""
