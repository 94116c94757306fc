"""Asking catalogue services over the network: several of them, again and again, with a cache of their answers.

A single try is :mod:`plugins_builtin.services.tap`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlparse

from lcframework.types import NeedMissing
from plugins_builtin.services.answers_cache import AnswersCache
from plugins_builtin.services.tap import LONGEST_PAUSE, Patience, ServiceFailure, TapQuestion, tap_answer

if TYPE_CHECKING:
    from astropy.table import Table

log = logging.getLogger(__name__)


class AsksServices:
    """A plugin that asks catalogue services, and has the options for it that are annotated here."""

    __slots__ = ()
    #: These options change how a service is asked, and never its answer.
    operational: ClassVar[frozenset[str]] = frozenset(
        {"url", "mirror", "timeout", "retries", "backoff", "max_rows", "cache_dir", "offline"}
    )

    timeout: float  # s, for each try
    retries: int  # further tries of each service
    backoff: float  # s before the first of them, doubled each time
    max_rows: int
    cache_dir: Path | None  # None: nothing is kept
    offline: bool  # true: only the cache answers

    def ask(self, questions: Sequence[TapQuestion], name: str, purpose: str, nothing: bool = False) -> Table:
        """Return the answer to a question that any of several services can answer, by :func:`ask`."""
        patience = Patience(self.timeout, self.retries, self.backoff, self.max_rows)
        return ask(
            questions, patience, name=name, purpose=purpose, cache_dir=self.cache_dir, offline=self.offline,
            nothing=nothing,
        )  # fmt: skip


def _ask_with_retries(question: TapQuestion, patience: Patience) -> Table:
    """Return one service's answer; ServiceFailure where all retries fail."""
    for attempt in range(patience.retries + 1):
        try:
            return tap_answer(question, patience)
        except ServiceFailure as failure:
            if not failure.again or attempt == patience.retries:
                raise
            pause = min(max(patience.pause(attempt), failure.wait), LONGEST_PAUSE)
            log.warning("%s: %s; asking again in %g s", question.service, failure, pause)
            time.sleep(pause)
    raise AssertionError("unreachable")


def ask(
    questions: Sequence[TapQuestion],
    patience: Patience,
    *,
    name: str,
    purpose: str,
    cache_dir: Path | None,
    offline: bool,
    nothing: bool = False,
) -> Table:
    """Return the answer to a question that any of several services can answer.

    The cache is asked first, then each service in turn. The first answer with rows is kept in the cache and returned.

    Parameters
    ----------
    questions : sequence of TapQuestion
        The same question, put to the service of choice and to its mirrors; all `read` into the same columns. The
        first one's ADQL names the answer in the cache.
    patience : Patience
        For each service.
    name : str
        Of the catalogue; begins the names of the cache's files.
    purpose : str
        What is asked, for messages.
    cache_dir : Path or None
        None: nothing is kept.
    offline : bool
        Whether only the cache may answer.
    nothing : bool
        Whether no rows is an answer as good as any: it is kept too.

    Returns
    -------
    astropy.table.Table
        Without rows only where a service answered so and none answered otherwise.

    Raises
    ------
    NeedMissing
        Where no service answers, or where offline and the cache does not know.
    """
    cache = AnswersCache(Path(cache_dir)) if cache_dir is not None else None
    identity: Mapping[str, Any] = {"name": name, "adql": questions[0].adql}
    if cache is not None and (known := cache.load(identity)) is not None:
        return known
    if offline:
        where = f"in {cache.folder}" if cache is not None else "(no cache_dir is set)"
        raise NeedMissing(
            f"{purpose}: offline = true and no stored answer {where}. Run `lcf prefetch` on the project file once "
            f"where there is a network, or set [run] offline = false."
        )
    table, origin = _first_answer(questions, patience, purpose, nothing)
    if cache is not None and (len(table) or nothing):
        _store(cache, identity, table, origin, nothing)
    return table


def _first_answer(
    questions: Sequence[TapQuestion], patience: Patience, purpose: str, nothing: bool
) -> tuple[Table, str]:
    """Return the first answer with rows (any, where `nothing`), else one without, and the address that gave it."""
    reasons, empty = [], None
    for question in questions:
        try:
            table = _ask_with_retries(question, patience)
        except ServiceFailure as failure:
            reasons.append(f"{question.service} ({urlparse(question.url).netloc}): {failure}")
            log.warning("%s: %s", purpose, reasons[-1])
            continue
        if len(table) or nothing:
            return table, question.url
        empty = table, question.url
        log.warning("%s: %s answered without a row", purpose, question.service)
    if empty is not None:
        return empty
    raise NeedMissing(
        f"{purpose}: no service gave a whole answer. {'; '.join(reasons)}. "
        f"Try again later, name another service in the options, or use a table of your own (plugin = 'file')."
    )


def _store(cache: AnswersCache, identity: Mapping[str, Any], table: Table, origin: str, nothing: bool) -> None:
    """Store an answer; one that can't be stored is used all the same."""
    try:
        cache.store(identity, table, origin, nothing)
    except OSError as error:
        log.warning("the answer of %s was not kept in %s: %s", origin, cache.folder, error)
