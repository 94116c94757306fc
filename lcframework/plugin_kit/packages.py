"""Writes the package of a plugin: it installs, works, and passes its own tests as it is written."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from importlib import resources, util
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from lcframework.plugin_kit.kinds import Kind
from lcframework.types import LcfError, MeasuredGain

if TYPE_CHECKING:
    from astropy.io import fits

#: Words with a meaning of their own where the name of a plugin may stand.
RESERVED = ("show", "new", "check", "none", "auto")
_TEMPLATES = "lcframework.plugin_kit.templates"


@attrs.frozen
class Naming:
    """What a plugin and its parts are called, by the plugin's name."""

    kind: Kind
    name: str

    @property
    def package(self) -> str:
        """The distribution, as in ``pip install``; also the folder's name."""
        return "lcf-" + self.name.replace("_", "-")

    @property
    def module(self) -> str:
        """The module."""
        return "lcf_" + self.name.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The class."""
        name = "".join(part[:1].upper() + part[1:] for part in re.split("[-_]", self.name))
        taken = keyword.iskeyword(name) or re.search(rf"\b{name}\b", _template(self.kind.word))
        return f"{name}Plugin" if taken else name


def naming(kind: Kind, name: str, taken: Mapping[str, str]) -> Naming:
    """Return what a new plugin's parts are called.

    Parameters
    ----------
    kind : Kind
        What it is to be.
    name : str
        Its name; ``lcf-`` before it is left out.
    taken : mapping
        Names that can't be used, and whose they are.

    Raises
    ------
    LcfError
        Where the name can't be used: says why.
    """
    short = name.removeprefix("lcf-").removeprefix("lcf_")
    pattern = r"[a-z][a-z0-9]*(_[a-z0-9]+)*" if kind.word == "stage" else r"[a-z][a-z0-9]*([-_][a-z0-9]+)*"
    if not re.fullmatch(pattern, short):
        better = re.sub(r"[^a-z0-9]+", "_", short.lower()).strip("_")
        hint = f', such as "{better}"' if re.fullmatch(pattern, better) else ""
        dash = "_" if kind.word == "stage" else "- or _"
        raise LcfError(f'"{name}" can\'t be the name: lower-case letters, digits and {dash} between them{hint}')
    if short in RESERVED:
        raise LcfError(f'"{short}" has a meaning of its own where a plugin\'s name may stand: choose another name')
    if short in taken:
        raise LcfError(f'{taken[short]} offers {kind.what} called "{short}" already: choose another name')
    made = Naming(kind, short)
    if util.find_spec(made.module) is not None:
        raise LcfError(f"there is a module {made.module} in this environment already: choose another name")
    return made


def package_files(
    names: Naming, headers: Sequence[fits.Header] = (), gain: MeasuredGain | None = None
) -> dict[str, str]:
    """Return the texts of a package's files, by their paths in its folder.

    Parameters
    ----------
    names : Naming
        What it is called.
    headers : sequence of astropy.io.fits.Header
        For a header parser: headers of one instrument, whose keywords it is to read.
    gain : MeasuredGain, optional
        For a header parser: what the images' noise says, where no keyword gives the gain.
    """
    if names.kind.word == "header":
        from lcframework.plugin_kit.header_module import example_headers, header_module

        given = headers or example_headers(names.name)
        made = header_module(given, names.name, names.class_name, names.module, gain)
        module, test = made.module, made.test
    else:
        module = _named(_template(names.kind.word), names)
        test = _named(_template(names.kind.word, "tests"), names)
    return {
        "pyproject.toml": _PYPROJECT.format(
            package=names.package, module=names.module, what=names.kind.what.removeprefix("a ").capitalize(),
            point=f'"{names.kind.prefix}{names.name}"' if "." in names.kind.prefix else names.kind.prefix + names.name,
        ),
        "README.md": _README.format(
            package=names.package, name=names.name, what=names.kind.what, use=names.kind.use.format(name=names.name),
            module=names.module,
        ),
        f"{names.module}.py": module,
        f"tests/test_{names.module}.py": test,
    }  # fmt: skip


def _template(word: str, folder: str = "") -> str:
    if word == "header":  # its module is made of texts in that one
        return resources.files("lcframework.plugin_kit").joinpath("header_module.py").read_text(encoding="utf-8")
    return resources.files(_TEMPLATES).joinpath(folder, f"{word}.py").read_text(encoding="utf-8")


def _named(text: str, names: Naming) -> str:
    text = text.replace(f"{_TEMPLATES}.{names.kind.word}", names.module)
    return text.replace("PluginClass", names.class_name).replace("plugin_name", names.name)


def write_package(folder: Path, files: Mapping[str, str]) -> None:
    """Write a package's files.

    Raises
    ------
    LcfError
        Where the folder exists: nothing is written.
    """
    if folder.exists():
        raise LcfError(f"{folder} exists already; it is left as it is")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def checks(files: Mapping[str, str]) -> list[tuple[str, int, str]]:
    """Return the CHECK comments of a package: file, line, and what it says."""
    found = []
    for name, text in files.items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            _, mark, rest = line.partition("CHECK: ")
            if mark:
                for more in lines[number + 1 :]:  # a comment goes on in whole lines of comments
                    follows = more.strip()
                    if not line.strip().startswith("#") or not follows.startswith("#") or "CHECK: " in follows:
                        break
                    rest += " " + follows.lstrip("#: ").strip()
                found.append((name, number + 1, rest))
    return found


_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{package}"
version = "0.1.0"
description = "{what} for lcframework"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["lcframework"]
# CHECK: add authors and license, and [project.urls] with Homepage and Issues, where users find help.

# lcframework finds the plugin by this line: a name that no other package has, and the module with the hook.
[project.entry-points.lcframework]
{point} = "{module}"

[tool.hatch.build]
dev-mode-dirs = ["."]  # `pip install -e` then needs no further package

[tool.hatch.build.targets.wheel]
packages = ["{module}.py"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
addopts = "--import-mode=importlib"
"""

_README = """\
# {package}

For lcframework: {what} called `{name}`.

CHECK: say what it does, for whom, and where its facts come from.

In this folder:

```sh
pip install -e .
lcf plugins {name}
lcf plugins check {name}
pytest
```

In the project file, or as a command:

```toml
{use}
```
"""
