"""Answers of catalogue services kept on disk, one ECSV file an answer, named by the content of its question.

A stored answer is believed only if it is whole: its header holds the question, the number of rows and a digest of the
values, and all three are checked when it is read. Anything else counts as not stored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from astropy.table import Table

log = logging.getLogger(__name__)

_FORMAT = 1


def digest(content: Any) -> str:
    """Return a digest of anything that JSON can hold; the same in every process, unlike ``hash``."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _values_digest(table: Table) -> str:
    """Return a digest of a table's names and values (floats by their shortest exact form, masked as null)."""
    return digest({name: [str(value) for value in table[name].tolist()] for name in table.colnames})


@attrs.frozen
class AnswersCache:
    """A folder of answers."""

    folder: Path

    def path(self, question: Mapping[str, Any]) -> Path:
        """Return where the answer to `question` is or would be kept."""
        name = str(question.get("name", "answer"))
        return self.folder / f"{name}-{digest(dict(question))[:24]}.ecsv"

    def load(self, question: Mapping[str, Any]) -> Table | None:
        """Return the stored answer, or None where there is none that is whole."""
        from astropy.table import Table

        path = self.path(question)
        if not path.is_file():
            return None
        try:
            table = Table.read(path, format="ascii.ecsv")
        except Exception as error:  # whatever a damaged file makes of the parser
            log.warning("%s can't be read (%s); the service is asked again", path, error)
            return None
        stored = table.meta.pop("lcframework_answer", None)
        whole = (
            isinstance(stored, Mapping)
            and stored.get("format") == _FORMAT
            and stored.get("question") == json.dumps(dict(question), sort_keys=True)
            and stored.get("rows") == len(table)
            and (len(table) > 0 or stored.get("nothing") is True)
            and stored.get("digest") == _values_digest(table)
        )
        if not whole:
            log.warning("%s is not a whole answer to this question; the service is asked again", path)
            return None
        return table

    def store(self, question: Mapping[str, Any], table: Table, origin: str, nothing: bool = False) -> Path:
        """Keep an answer, atomically.

        Parameters
        ----------
        question : mapping
            What was asked; JSON values.
        table : astropy.table.Table
            At least one row, unless `nothing`.
        origin : str
            Who answered.
        nothing : bool
            Whether an answer without rows is kept: where there may well be none.

        Raises
        ------
        ValueError
            For another answer without rows.
        """
        if len(table) == 0 and not nothing:
            raise ValueError("an empty answer is never kept")
        path = self.path(question)
        table = table.copy()
        table.meta["lcframework_answer"] = {
            "format": _FORMAT,
            "question": json.dumps(dict(question), sort_keys=True),
            "origin": origin,
            "rows": len(table),
            "digest": _values_digest(table),
            **({} if len(table) else {"nothing": True}),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=path.stem, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                table.write(stream, format="ascii.ecsv")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path
