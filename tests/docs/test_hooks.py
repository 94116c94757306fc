"""docs/hooks.md states every hook and every method of every protocol with its exact signature, and no other."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pages

from lcframework import hookspecs, protocols
from lcframework.plugins import SEAMS
from lcframework.protocols import abilities, of_seams

PAGE = pages.read("hooks.md")


def signatures(source: str) -> dict[str, str]:
    """Return functions, methods and annotated attributes of a source text by qualified name, as normalised text."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _signature(node)
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    found[f"{node.name}.{member.name}"] = _signature(member)
                elif isinstance(member, ast.AnnAssign):
                    found[f"{node.name}.{ast.unparse(member.target)}"] = ast.unparse(member.annotation)
    return found


def is_protocol(cls: object) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def _signature(node: ast.FunctionDef) -> str:
    return f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns) if node.returns else ''}"


def of_module(module: ModuleType) -> dict[str, str]:
    return signatures(inspect.getsource(module))


DOCUMENTED = signatures("\n".join(pages.blocks(PAGE, "python")))


def test_every_hook_has_its_exact_signature() -> None:
    assert {k: v for k, v in DOCUMENTED.items() if "." not in k} == of_module(hookspecs)


def test_every_method_has_its_exact_signature() -> None:
    assert {k: v for k, v in DOCUMENTED.items() if "." in k} == of_module(of_seams) | of_module(abilities)


def test_every_hook_has_a_section_in_the_order_of_the_file() -> None:
    assert [s.title for s in pages.sections(PAGE) if s.title.startswith("lcf_")] == list(of_module(hookspecs))


def test_each_section_shows_the_protocol_of_its_hook() -> None:
    for seam in SEAMS:
        found = signatures("\n".join(pages.blocks(pages.section(PAGE, seam.hook).text, "python")))
        assert {k.split(".")[0] for k in found if "." in k} == ({seam.protocol.__name__} if seam.protocol else set())


def test_every_ability_is_recognised_and_explained() -> None:
    classes = [cls for cls in vars(abilities).values() if is_protocol(cls) and cls.__module__ == abilities.__name__]
    names = [cls.__name__ for cls in classes]
    section = pages.section(PAGE, "Optional abilities")
    assert [pages.plain(name) for name, _, _ in section.table()] == names
    shown = signatures("\n".join(pages.blocks(section.text, "python")))
    assert list(dict.fromkeys(member.split(".")[0] for member in shown)) == names
    for name in names:
        isinstance(None, getattr(protocols, name))  # a TypeError where it is not runtime-checkable


def test_the_table_names_the_section_of_each_hook() -> None:
    rows = [(pages.plain(a), pages.plain(b)) for a, b, _ in pages.section(PAGE, "Hooks").table()]
    assert [hook for _, hook in rows] == list(of_module(hookspecs))
    assert {hook: place.strip("[]") for place, hook in rows if place.endswith("]")} == {
        s.hook: s.section for s in SEAMS if s.section
    }
