"""A column of file names: also of those that are not UTF-8, which no database takes as they are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

#: Python shows a byte that is no UTF-8 as one of these; in the database it is a character for private use.
_STORED = {0xDC80 + i: 0xF780 + i for i in range(128)}
_SHOWN = {stored: shown for shown, stored in _STORED.items()}


class FilePath(sa.types.TypeDecorator[str]):
    """A path or file name as Python has it, from and to the database."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Return the text for the database."""
        return value if value is None or value.isascii() else value.translate(_STORED)

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        """Return the path as the file system has it."""
        return value if value is None or value.isascii() else str(value).translate(_SHOWN)
