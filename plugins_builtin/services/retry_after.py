"""How long a busy service asks to be left alone."""

from __future__ import annotations


def seconds_to_wait(retry_after: str | None) -> float:
    """Return the seconds in a Retry-After header; 0 where there is none, or where it is a date."""
    text = (retry_after or "").strip()
    return float(text) if text.isdecimal() else 0.0
