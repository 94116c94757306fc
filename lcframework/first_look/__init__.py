"""The first look at a folder of frames: it becomes a short project file that runs, or says what it has to be told."""

from __future__ import annotations

from lcframework.first_look.drafting import Draft, Request, Unanswered, draft
from lcframework.first_look.writing import write

__all__ = ["Draft", "Request", "Unanswered", "draft", "write"]
