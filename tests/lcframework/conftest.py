"""What tests of the core share."""

from __future__ import annotations

import pytest

from lcframework.storage.connection import open_engine


@pytest.fixture
def engine(tmp_path):
    """Return a database in ``tmp_path``, with empty tables."""
    made = open_engine("", tmp_path)
    yield made
    made.dispose()
