"""Reading of the header of one file by the parsers."""

from __future__ import annotations

from pathlib import Path

import attrs
from astropy.io import fits

from lcframework.config.sections import Frames
from lcframework.config.toolbox import Tool
from lcframework.frames.header_cards import text_of
from lcframework.frames.header_parsing import read_header
from lcframework.frames.raw_frames import read_doubted_header
from lcframework.header_doctor.defects import all_defects
from lcframework.types import Doubt, HeaderInfo, NeedMissing, UnusableInput

_UNKNOWN = "unknown"


@attrs.frozen(eq=False)
class FileReading:
    """One file: the values from a parser, or the reason why no parser accepted it."""

    path: Path
    instrument: str
    header: fits.Header | None = None
    shape: tuple[int, int] = (0, 0)
    parser: str = ""
    info: HeaderInfo | None = None
    reason: str = ""
    doubts: tuple[Doubt, ...] = ()  # about the header, the parser's included
    defects: tuple[str, ...] = ()  # all reasons why no parser accepts it
    partial: HeaderInfo | None = None  # what can be read of such a header, with stand-ins for
    unread: frozenset[str] = frozenset()  # these quantities

    @property
    def known(self) -> HeaderInfo | None:
        """What is read of the header, the whole of it or a part."""
        return self.info or self.partial


def read_file(path: Path, parsers: tuple[Tool, ...], settings: Frames) -> FileReading:
    """Return the values of a file's header; a file that no parser accepts gives a reason and no exception."""
    try:
        header, shape, doubts = read_doubted_header(path, settings)
    except (UnusableInput, OSError) as error:
        return FileReading(path, _UNKNOWN, reason=str(error))
    guess = "-".join(dict.fromkeys(t for k in ("TELESCOP", "INSTRUME") if (t := text_of(header, k)))) or _UNKNOWN
    try:
        parser, info = read_header(parsers, header, path)
    except UnusableInput as error:
        found = all_defects(parsers, header, path, str(error))
        name = found.info.instrument if found.info is not None else ""
        return FileReading(path, name or guess, header, shape, reason="; ".join(found.reasons), doubts=doubts,
                           defects=found.reasons, partial=found.info, unread=found.unread)  # fmt: skip
    except NeedMissing as error:
        return FileReading(path, guess, header, shape, reason=str(error))
    except Exception as error:  # a bug of a parser must not stop the check of other files
        return FileReading(path, guess, header, shape, reason=f"a parser failed: {type(error).__name__}: {error}")
    return FileReading(path, info.instrument or guess, header, shape, parser, info, doubts=(*doubts, *info.doubts))
