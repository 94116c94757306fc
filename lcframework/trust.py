"""Code that a project brings along runs only after its user allowed it, once for each workdir and each state of a file.

Answers are kept in the workdir, each with a seal that only this user can make: a workdir from somebody else brings
none that count.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import hmac
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework.protocols import RunsFiles
from lcframework.provenance import file_digest
from lcframework.storage.files import atomic
from lcframework.types import LcfError

if TYPE_CHECKING:
    from lcframework.config.toolbox import Toolbox

#: Allows code without a question: digests joined by commas (their first twelve characters will do), or ``all``.
VARIABLE = "LCF_TRUST"
ANSWERS = "trusted.json"
#: Characters of a digest that are shown, and that are needed in the variable.
SHOWN = 12


@attrs.frozen
class Code:
    """A file that a project would run: what it is, its path, and the digest of its contents."""

    what: str
    path: Path
    digest: str

    def __str__(self) -> str:
        """Return a line for the user."""
        return f"{self.path}  ({self.what}, sha256 {self.digest[:SHOWN]}...)"


class NotTrusted(LcfError):
    """A project brings code that its user did not allow yet.

    Parameters
    ----------
    codes : sequence of Code
        What it would run.
    workdir : Path
        The folder in which the answer is kept.
    project : Path, optional
        The project file; None where a folder of frames brings the code.
    """

    def __init__(self, codes: Sequence[Code], workdir: Path, project: Path | None = None) -> None:
        self.codes, self.workdir, self.project = tuple(codes), workdir, project
        allow = f"{VARIABLE}={','.join(code.digest[:SHOWN] for code in codes)}"
        cure = f"put `{allow}` before the command"
        if project is not None:
            cure = f"`lcf trust {project}`; in Python: Project.open(..., trust=True); for one command: {cure}"
        super().__init__(f"{self.question}\nRead it. If you want it to run: {cure}")

    @property
    def question(self) -> str:
        """What would be run."""
        lines = "\n".join(f"  {code}" for code in self.codes)
        return f"{self.project or self.workdir} brings code that you did not allow yet:\n{lines}"


def code_of(toolbox: Toolbox) -> list[Code]:
    """Return the files that the plugins of a project would run because the project names them, or has them."""
    found: dict[Path, Code] = {}
    for tools in toolbox.tools.values():
        for tool in (t for of_section in tools.values() for t in of_section):
            for option, path in _run_by(tool.instance):
                what = f'{option} of [{tool.section}] plugin "{tool.name}"'
                found.setdefault(path, Code(what, path, file_digest(path)))
    return [code for code in found.values() if code.path.exists()]


def code_of_parsers(instances: Iterable[Any]) -> list[Code]:
    """Return the files that header parsers would run."""
    paths = [path for instance in instances for _, path in _run_by(instance)]
    return [Code("header parser", path, file_digest(path)) for path in paths if path.exists()]


def _run_by(instance: Any) -> list[tuple[str, Path]]:
    """Return the options of a plugin that are files to run, other than commands of this machine by default."""
    if not isinstance(instance, RunsFiles):
        return []
    out = []
    options: Any = attrs.fields(type(instance))  # type: ignore[arg-type]
    for option in options:
        value = getattr(instance, option.name)
        if option.name in instance.runs and (isinstance(value, Path) or (value and value != option.default)):
            path = value if isinstance(value, Path) else Path(shutil.which(value) or value)
            out.append((option.name, path.absolute()))
    return out


def check(codes: Sequence[Code], workdir: Path, project: Path | None = None, trust: bool | None = None) -> None:
    """Refuse code that nobody allowed.

    Parameters
    ----------
    codes : sequence of Code
        What would be run.
    workdir : Path
        Where answers are kept.
    project : Path, optional
        The project file, for the message.
    trust : bool, optional
        True: the caller allows it, which is kept as an answer; False: only what the variable ``LCF_TRUST`` allows.

    Raises
    ------
    NotTrusted
        Where something is not allowed.
    """
    new = [code for code in codes if not _allowed_by_environment(code.digest)]
    if not new:
        return
    if trust:
        allow(new, workdir)
        return
    kept = _answers(workdir) if trust is None else {}
    key = _key(make=False)
    refused = [code for code in new if not _sealed(kept.get(code.digest), code.digest, key)]
    if refused:
        raise NotTrusted(refused, workdir, project)


def allow(codes: Sequence[Code], workdir: Path) -> bool:
    """Keep the answer that these may run; where the workdir can't be written it holds for this process.

    Returns
    -------
    bool
        Whether the answer was kept.
    """
    try:
        key = _key(make=True)
        answers = _answers(workdir)
        for code in codes:
            now = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
            answers[code.digest] = {"path": os.fsencode(code.path).decode(errors="replace"), "allowed": now,
                                    "seal": _seal(code.digest, key)}  # fmt: skip
        _write(answers, workdir)
    except OSError:
        before = os.environ.get(VARIABLE, "")
        os.environ[VARIABLE] = ",".join(filter(None, [before, *(code.digest for code in codes)]))
        return False
    return True


def forget(workdir: Path) -> int:
    """Forget all answers of a workdir, and return how many there were."""
    number = len(_answers(workdir))
    (workdir / ANSWERS).unlink(missing_ok=True)
    return number


def _allowed_by_environment(digest: str) -> bool:
    words = [word.strip() for word in os.environ.get(VARIABLE, "").split(",")]
    return "all" in words or any(len(word) >= SHOWN and digest.startswith(word) for word in words)


def _answers(workdir: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((workdir / ANSWERS).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write(answers: dict[str, Any], workdir: Path) -> None:
    with atomic(workdir / ANSWERS) as temporary:
        temporary.write_text(json.dumps(answers, indent=2), encoding="utf-8")


def _seal(digest: str, key: bytes) -> str:
    return hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()


def _sealed(answer: Any, digest: str, key: bytes) -> bool:
    seal = answer.get("seal") if isinstance(answer, dict) else None
    return bool(key) and isinstance(seal, str) and hmac.compare_digest(seal.encode(), _seal(digest, key).encode())


def _key(make: bool) -> bytes:
    """Return this user's key for seals; empty where there is none and `make` is false.

    Raises
    ------
    OSError
        Where it can't be made.
    """
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~").expanduser() / ".config")
    path = home / "lcframework" / "trust.key"
    with contextlib.suppress(OSError):
        if key := path.read_bytes():
            return key
    if not make:
        return b""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, secrets.token_bytes(32))
        os.close(descriptor)
    if not (key := path.read_bytes()):
        raise OSError(f"{path} is empty")
    return key
