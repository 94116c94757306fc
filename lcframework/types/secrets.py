"""What every text that is shown or stored goes through: no passwords and keys, no bytes that are not UTF-8."""

from __future__ import annotations

import os
import re

#: What stands in the place of a secret.
HIDDEN = "***"
#: The password of an address, ``scheme://user:password@host``; up to the last @, because passwords may hold one.
_OF_ADDRESS = re.compile(r"([a-zA-Z][\w+.-]*://[^\s:/@\"<]*:)[^\s\"<]*(?=@)")
_NAMES = r"(?:ssl_?)?password|passwd|pwd|passphrase|api_?key|access_?key|secret(?:_?key)?|auth_?token"
#: A named secret: of a query (``?password=...``), a connection string, a line of TOML, JSON or YAML.
_NAMED = re.compile(
    rf"""((?<![a-zA-Z0-9])(?:[a-zA-Z0-9]+_)?(?:{_NAMES})["']?\s*[=:]\s*)("[^"\n]*"|'[^'\n]*'|[^\s&,;)}}\]"'<]+)""",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Return a text without the passwords of addresses in it, and without values that are named as secrets."""
    text = _OF_ADDRESS.sub(rf"\1{HIDDEN}", text)
    return _NAMED.sub(lambda found: found[1] + _quoted(found[2]), text)


def readable(text: str) -> str:
    """Return a text in which bytes of file names that are not UTF-8 are written as their hexadecimal numbers."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_name(path: str) -> str:
    """Return the name of a file, for people."""
    return readable(os.path.basename(path))


def _quoted(value: str) -> str:
    return f"{value[0]}{HIDDEN}{value[0]}" if value[0] in "\"'" else HIDDEN
