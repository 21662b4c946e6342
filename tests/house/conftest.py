"""What the house's tests share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_collection_while_parsing() -> Iterator[None]:
    """These tests parse a lot of code, which Python 3.11 cannot do while it parses.

    A garbage collection in the middle of `ast.parse` may finalize what other tests have left behind; a finalizer that
    prints a traceback parses the line it shows, and the outer call ends in a SystemError.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()
