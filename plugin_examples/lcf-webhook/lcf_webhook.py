"""Posts the end of each run to a URL, as JSON: to a chat, a monitoring service, or a script of yours.

A listener has no section in the project file: it hears every run of this installation. So its settings are in the
environment, ``LCF_WEBHOOK_URL`` and others; without an address it does nothing.
"""

from __future__ import annotations

import json
import logging
import math
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import urlsplit

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.types import RunEvent

URL, TIMEOUT, NAME = "LCF_WEBHOOK_URL", "LCF_WEBHOOK_TIMEOUT", "LCF_WEBHOOK_NAME"
_SECONDS = 5.0  # of patience, where the environment names none
log = logging.getLogger("lcframework.webhook")  # below "lcframework": it goes to the project's lcf.log


@attrs.define
class _Run:
    """What was heard of the run that goes on in this process."""

    started: str = ""
    units: dict[str, int] = attrs.field(factory=dict)  # by stage

    def hear(self, event: RunEvent) -> None:
        if event.kind == "run_started":
            self.started, self.units = _now(), {}
        elif event.kind == "unit_done":
            self.units[event.stage] = event.done


_run = _Run()


@hookimpl
def lcf_event(event: RunEvent) -> None:
    """Post where a run ends; only the waiting for that answer, of a few seconds, is time of the run."""
    _run.hear(event)
    url = os.environ.get(URL, "").strip()
    if event.kind == "run_finished" and url:
        post(url, body(event))


def body(event: RunEvent) -> dict[str, object]:
    """Return what is sent; `message` says why a run stopped early, and is empty where it came to its end."""
    return {
        "event": event.kind, "name": os.environ.get(NAME, ""), "started": _run.started, "finished": _now(),
        "message": event.message, "units": _run.units,
    }  # fmt: skip


def post(url: str, content: dict[str, object]) -> bool:
    """Send JSON; whatever fails is a line in the log, never an error of the run. Returns whether it was taken.

    The log names the host alone: the rest of such a URL is often a secret.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            log.warning("%s is no http or https address: the end of the run was posted nowhere", URL)
            return False
        data = json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "lcf-webhook"}
        request = urllib.request.Request(url, data, headers, method="POST")
        with urllib.request.urlopen(request, timeout=_patience()) as answer:
            return 200 <= int(answer.status) < 300
    except urllib.error.HTTPError as error:
        log.warning("%s refused the end of the run: HTTP %s", parts.hostname, error.code)
        error.close()
    except (OSError, ValueError) as error:  # no connection, too slow, not HTTP
        reason = getattr(error, "reason", None) or error
        log.warning("the end of the run was not posted: %s", type(reason).__name__)
    return False


def _patience() -> float:
    try:
        seconds = float(os.environ.get(TIMEOUT, _SECONDS))
    except ValueError:
        seconds = _SECONDS
    return seconds if math.isfinite(seconds) and seconds > 0 else _SECONDS


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
