"""The header parser ``file``: a function ``parse_header(header)`` in a file of the user's."""

from __future__ import annotations

import functools
import importlib.util
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.options import closest
from lcframework.types import HeaderInfo, NeedMissing, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

FUNCTION = "parse_header"
NEEDED = ("exptime", "gain", "mjd")
EXAMPLE = "def parse_header(header): return {'exptime': ..., 'gain': ..., 'mjd': ...}"


@attrs.frozen
class FileHeader:
    """Runs ``parse_header(header)``, which returns a dictionary with `exptime` (s), `gain` (e-/ADU) and `mjd`.

    The dictionary may hold any other field of :class:`~lcframework.types.HeaderInfo` too; `mjd` is the start of the
    exposure unless `time_reference` says otherwise. None instead of a dictionary leaves the file to other parsers.
    """

    results_version: ClassVar[int] = 1
    runs: ClassVar[tuple[str, ...]] = ("path",)

    path: Path = attrs.field(default=Path("header_parser/parse_header.py"), converter=Path)

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return what the user's function reads off the merged header; None where it returns None.

        Raises
        ------
        NeedMissing
            Where the file or the function is not there, or the file can't be run.
        UnusableInput
            Where the function fails on this header, or what it returns is not as documented.
        """
        parse_header = self._function()
        try:
            answer = parse_header(header.copy())
        except Exception as error:
            raise UnusableInput(f"{FUNCTION}() failed {_location(error, self.path)}: {_describe(error)}") from error
        return None if answer is None else self._check(answer)

    def _function(self) -> Callable[[fits.Header], Any]:
        try:
            stamp = self.path.stat()
        except OSError as error:
            raise NeedMissing(
                f"no header parser at {self.path}: write there `{EXAMPLE}`, or give its path in [header.file]"
            ) from error
        return _load(self.path, (stamp.st_mtime_ns, stamp.st_size))

    def _check(self, answer: Any) -> HeaderInfo:
        if not isinstance(answer, Mapping):
            raise UnusableInput(
                f"{FUNCTION}() in {self.path} returned {answer!r} where a dictionary is expected: `{EXAMPLE}`"
            )
        missing = [name for name in NEEDED if answer.get(name) is None]
        if missing:
            raise UnusableInput(
                f"{FUNCTION}() in {self.path} returned no {', '.join(missing)}; it returned "
                f"{', '.join(map(str, answer)) or 'an empty dictionary'}"
            )
        known = [field.name for field in attrs.fields(HeaderInfo)]
        for name in answer:
            if name not in known:
                like = closest(str(name), known)
                hint = f"did you mean {like}?" if like else f"known are {', '.join(known)}"
                raise UnusableInput(f"{FUNCTION}() in {self.path} returned an unknown {name!r}: {hint}")
        try:
            return HeaderInfo(**answer)
        except (TypeError, ValueError) as error:
            raise UnusableInput(f"{FUNCTION}() in {self.path} returned a value that makes no sense: {error}") from error


@functools.lru_cache(maxsize=8)
def _load(path: Path, stamp: tuple[int, int]) -> Callable[[fits.Header], Any]:
    """Run the file once for each state of it."""
    spec = importlib.util.spec_from_file_location("lcf_user_header_parser", path)
    if spec is None or spec.loader is None:
        raise NeedMissing(f"the header parser {path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        # Compiled here, because the loader would leave a __pycache__ in the user's folder.
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    except Exception as error:
        raise NeedMissing(
            f"the header parser {path} can't be run {_location(error, path)}: {_describe(error)}"
        ) from error
    function: Callable[[fits.Header], Any] | None = getattr(module, FUNCTION, None)
    if not callable(function):
        raise NeedMissing(f"{path} has no function {FUNCTION}(header): write `{EXAMPLE}`")
    return function


def _location(error: BaseException, path: Path) -> str:
    """Return in words the line of the user's file in which an exception arose."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"in line {error.lineno} of {path}"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if not lines:
        return f"in {path}"
    text = f" ({lines[-1].line})" if lines[-1].line else ""
    return f"in line {lines[-1].lineno} of {path}{text}"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer the header parser ``file``."""
    return {"file": FileHeader}
