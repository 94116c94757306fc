"""Small changes of Python source, such as a plus for a minus, that tests of it should notice."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import attrs

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
#: What has no effect on numbers: texts of errors, and what only type checkers read.
_SKIPPED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)
_UNCHANGED_NAMES = {"results_version", "__all__"}
_AXES = {0: 1, 1: 0, 2: 1}


@attrs.frozen
class Mutation:
    """A change of a part of a file."""

    path: Path  # relative to the repository
    line: int
    first: int  # bytes of the file that are replaced
    end: int
    before: str
    after: str

    def applied(self, source: str) -> str:
        """Return the source with the change."""
        text = source.encode()
        return (text[: self.first] + f"({self.after})".encode() + text[self.end :]).decode()

    @property
    def identity(self) -> str:
        """A name for files, the same as long as the change and its place are."""
        change = f"{self.path} {self.first} {self.end} {self.before} {self.after}"
        return hashlib.sha256(change.encode()).hexdigest()[:24]

    def __str__(self) -> str:
        """Return the place and the change."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.path}:{self.line}: {before}  ->  {after}"


def mutations(path: Path, source: str) -> list[Mutation]:
    """Return all changes of a file that are known here, in the order of its lines."""
    text = source.encode()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, replacement in _changes(ast.parse(source)):
        first = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        found.append(Mutation(path, node.lineno, first, end, text[first:end].decode(), ast.unparse(replacement)))
    return sorted(found, key=lambda m: (m.first, m.end, m.after))


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield expressions and what to put in their places."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, _SKIPPED) or _is_unchanged(child):
            continue
        if isinstance(child, ast.expr):
            yield from ((child, new) for new in _replacements(child))
        if isinstance(child, ast.keyword) and child.arg == "axis" and isinstance(child.value, ast.Constant):
            yield from _other_axes(child.value)
        else:
            yield from _changes(_without_annotations(child))


def _other_axes(axis: ast.Constant) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(axis.value, int) and axis.value in _AXES:
        yield axis, ast.Constant(_AXES[axis.value])


def _is_unchanged(node: ast.AST) -> bool:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(t, ast.Name) and t.id in _UNCHANGED_NAMES for t in targets)


def _without_annotations(node: ast.AST) -> ast.AST:
    if isinstance(node, ast.FunctionDef):
        defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
        return ast.Module([*(ast.Expr(d) for d in defaults), *node.body], [])
    if isinstance(node, ast.AnnAssign):
        return ast.Module([ast.Expr(node.value)] if node.value is not None else [], [])
    return node


def _replacements(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPPED:
        if not _is_text(node):
            yield ast.BinOp(node.left, _SWAPPED[type(node.op)](), node.right)  # type: ignore[arg-type]
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(_SWAPPED[type(node.op)](), node.values)  # type: ignore[arg-type]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _SWAPPED:
        yield ast.Compare(node.left, [_SWAPPED[type(node.ops[0])]()], node.comparators)  # type: ignore[list-item]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node.value)


def _is_text(node: ast.BinOp) -> bool:
    parts = (node.left, node.right)
    return any(
        isinstance(p, ast.JoinedStr) or (isinstance(p, ast.Constant) and isinstance(p.value, str)) for p in parts
    )


def _other_constants(value: object) -> Iterator[ast.expr]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(2 * value if value else 1.0)
