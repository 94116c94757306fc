"""Plugins: how they are found, checked, selected and called.

Import from this package. In it, `seams` names the replaceable parts, `finding` looks for what is installed, `checking`
and `stage_checks` judge what is loaded, `manager` keeps and selects it, `guarding` calls it, `shielding` protects what
it is given, and `answers` checks what it returns.
"""

from __future__ import annotations

from lcframework.plugins.checking import class_problem
from lcframework.plugins.finding import Found, contact, unmet
from lcframework.plugins.guarding import (
    Call,
    PluginFault,
    Source,
    asked,
    collected,
    fault,
    log_printed,
    silenced,
    working_on,
)
from lcframework.plugins.manager import Offer, Plugin, Plugins
from lcframework.plugins.places import raised_at
from lcframework.plugins.seams import SEAM_OF_HOOK, SEAM_OF_SECTION, SEAMS, Seam

__all__ = [
    "SEAMS",
    "SEAM_OF_HOOK",
    "SEAM_OF_SECTION",
    "Call",
    "Found",
    "Offer",
    "Plugin",
    "PluginFault",
    "Plugins",
    "Seam",
    "Source",
    "asked",
    "class_problem",
    "collected",
    "contact",
    "fault",
    "log_printed",
    "raised_at",
    "silenced",
    "unmet",
    "working_on",
]
