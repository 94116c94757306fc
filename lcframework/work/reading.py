"""What a unit reads: the files of products, which are checked before they are used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from sqlmodel import Session

from lcframework.storage.product_files import KnownFile, known_files
from lcframework.storage.readable import why_unreadable
from lcframework.storage.seals import Seal, wrong, wrong_size
from lcframework.types import DamagedProduct

#: The size of a file that has no seal, because an earlier version made it.
UNSEALED = -1


def paths_in(payload: Any) -> Iterator[str]:
    """Yield the texts in a payload that may be paths of products: relative, and with a folder.

    Payloads are attrs classes, mappings, sequences and texts, one in another; other values hold no paths.
    """
    if isinstance(payload, str):
        if "/" in payload and not payload.startswith("/"):
            yield payload
    elif isinstance(payload, Mapping):
        for value in payload.values():
            yield from paths_in(value)
    elif isinstance(payload, list | tuple | set | frozenset):
        for value in payload:
            yield from paths_in(value)
    elif getattr(getattr(payload, "dtype", None), "kind", "") in ("U", "O"):
        yield from paths_in(payload.tolist())
    elif attrs.has(type(payload)):
        for attribute in attrs.fields(type(payload)):
            yield from paths_in(getattr(payload, attribute.name))


def seals_to_check(paths: Iterable[str], known: Mapping[str, KnownFile], workdir: Path) -> tuple[Seal, ...]:
    """Return the seals of the products that a unit reads.

    Parameters
    ----------
    paths : iterable of str
        Texts that may be paths of products.
    known : mapping
        The recorded files by path.
    workdir : Path
        The folder of products: what is there without a record was made by an earlier version.
    """
    found = []
    for path in dict.fromkeys(paths):
        row = known.get(path)
        if row is not None and row.size is not None:
            found.append(Seal(path, row.size, row.digest))
        elif (workdir / path).is_file():
            found.append(Seal(path, UNSEALED, ""))
    return tuple(found)


def check_reads(workdir: Path, reads: Sequence[Seal]) -> None:
    """Check that files are as they were written.

    Raises
    ------
    DamagedProduct
        Where one is not.
    OSError
        Where one can't be read at present.
    """
    for sealed in reads:
        found = wrong_size(workdir, sealed.path, None) if sealed.size == UNSEALED else wrong(workdir, sealed)
        if found:
            raise DamagedProduct(workdir / sealed.path, found)


def checked_product(session: Session, workdir: Path, path: str) -> Path:
    """Return the full path of a product, once it is found to be as it was written; raises as :func:`check_reads`."""
    check_reads(workdir, seals_to_check([path], known_files(session, [path]), workdir))
    return workdir / path


def unreadable(workdir: Path, reads: Sequence[Seal]) -> tuple[tuple[str, str], ...]:
    """Return the files without a seal that can't be read, and why: a reader has failed, and does not say which."""
    found = ((s.path, why_unreadable(workdir / s.path)) for s in reads if s.size == UNSEALED)
    return tuple((path, why) for path, why in found if why)


def relative(workdir: Path, path: str) -> str:
    """Return a path relative to the workdir."""
    return os.path.relpath(path, workdir) if os.path.isabs(path) else path
