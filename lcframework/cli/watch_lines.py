"""What ``lcf watch`` prints of each batch: a line for people, or JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from lcframework.cli.unusable import by_reason
from lcframework.running.doubts import as_json as doubts_as_json
from lcframework.running.frame_status import FrameState
from lcframework.types import Severity
from lcframework.types.json_values import finite_or_none
from lcframework.watching.batches import Batch, Latest
from lcframework.watching.watcher import News, Stopped, Waiting

#: The number of sources and of files that a line names.
_NAMED = 4
_ENDINGS = {"signal": "asked to stop", "until": "the time is up", "idle": "no more frames came"}


def as_lines(news: News) -> list[str]:
    """Return what is printed for people: one line, and below it what asks for attention."""
    now = f"{dt.datetime.now(dt.UTC):%H:%M:%SZ}"
    if isinstance(news, Waiting):
        files = [f"{name}: {why}" for name, why in news.files.items()]
        return [f"{now} {news.why}{': ' if files else ''}{_first(files)}"]
    if not isinstance(news, Batch):
        return [f"{now} Failed, tried again in {news.seconds:.0f} s: {news.why}"]
    lines = [f"{now} {_batch_line(news)}"]
    lines += [f"  decided: {text}" for text in news.decided]
    if news.remade:
        lines.append(f"  {news.remade} earlier frames were measured again")
    lines += [f"  {c.severity.value}: {c.sentence}" for c in news.doubts if c.severity is not Severity.NOTE]
    return lines + [f"  trouble: {text}" for text in news.trouble]


def _batch_line(batch: Batch) -> str:
    used = batch.frames.get(str(FrameState.USED), 0)
    parts = [f"{used} of {sum(batch.frames.values())} frames used, {len(batch.new)} new"]
    parts += [_latest(one) for one in batch.latest]
    if batch.left_out:
        out = by_reason([(str(state), name, why) for name, state, why in batch.left_out])
        parts.append(f"out: {_first(out)}")
    return "; ".join([*parts, f"{batch.seconds:.1f} s"])


def _latest(one: Latest) -> str:
    sources = []
    for name, (mag, error, flux, flux_error) in one.sources.items():
        is_mag = math.isfinite(mag)
        sources.append(f"{name} {mag:.3f} +- {error:.3f}" if is_mag else f"{name} {flux:.4g} +- {flux_error:.2g} e-/s")
    flags = f" (flags {one.flags})" if one.flags else ""
    return f"{one.region} {one.band} {one.frame}: {_first(sources)}{flags}"


def _first(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def as_json(news: News) -> str:
    """Return what is printed for programs."""
    if isinstance(news, Waiting):
        return _line("waiting", why=news.why, files=dict(news.files))
    if not isinstance(news, Batch):
        return _line("failed", why=news.why, again_in_seconds=news.seconds)
    return _line(
        "batch", new=list(news.new), frames=dict(news.frames),
        left_out=[{"file": name, "state": str(state), "why": why} for name, state, why in news.left_out],
        latest=[_latest_json(one) for one in news.latest], decided=list(news.decided), measured_again=news.remade,
        doubts=doubts_as_json(news.doubts), trouble=list(news.trouble), failed=news.failed,
        seconds=round(news.seconds, 3),
    )  # fmt: skip


def _latest_json(one: Latest) -> dict[str, Any]:
    names = ("mag", "d_mag", "flux", "d_flux")
    sources = {
        name: {key: finite_or_none(value) for key, value in zip(names, values, strict=True)}
        for name, values in one.sources.items()
    }
    return {"region": one.region, "frame": one.frame, "band": one.band, "instrument": one.instrument, "mjd": one.mjd,
            "epochs": one.epochs, "sources": sources, "flags": one.flags}  # fmt: skip


def _line(event: str, **values: Any) -> str:
    return json.dumps({"event": event, "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), **values})


def summary(ended: Stopped) -> str:
    """Return the last line for people."""
    text = f"Stopped, {_ENDINGS[ended.ending]}: {_count(ended.batches, 'batch', 'batches')}, "
    text += f"{_count(ended.taken, 'file', 'files')} taken"
    if ended.unfinished:
        text += "; the last batch was left before its end, and the same command or `lcf run` goes on from there"
    waiting: Mapping[str, str] = ended.waiting
    if waiting:
        text += f"; not taken: {_first(f'{name} ({why})' for name, why in waiting.items())}"
    return text + "."


def summary_json(ended: Stopped) -> str:
    """Return the last line for programs."""
    return _line("stopped", why=ended.ending, batches=ended.batches, files=ended.taken, unfinished=ended.unfinished,
                 waiting=dict(ended.waiting))  # fmt: skip


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
