"""Every mutant of a module: cosmic-ray's operators, and two of ours for what moves money and what records it."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cache
from typing import Any, ClassVar

from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword

from tests.house.tree import ROOT

# Comparisons are negated and moved by one, sums turned round: other replacements fail on the types, and prove nothing.
_COMPARISONS = ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")
_SUMS = ("Add_Sub", "Sub_Add")
_REST = (
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
)


class TurnSum(Operator):
    """`+=` becomes `-=`, and the other way round."""

    _TURNED: ClassVar = {"+=": "-=", "-=": "+="}

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """See Operator."""
        if node.type == "operator" and node.value in self._TURNED:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """See Operator."""
        node.value = self._TURNED[node.value]
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """See Operator."""
        return (Example("x += 1", "x -= 1"),)


class ForgetCall(Operator):
    """A call whose answer nobody wants is left out."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """See Operator."""
        if node.type == "simple_stmt" and node.children[0].type in ("atom_expr", "power"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """See Operator."""
        node.children[0] = Keyword("pass", node.start_pos, node.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        """See Operator."""
        return (Example("f(x)\n", "pass\n"),)


@dataclass(frozen=True)
class Mutant:
    """One change to one module."""

    module: str
    """Its path from the root."""
    line: int
    operator: str
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.operator}: `{self.before}` → `{self.after}`"


def mutants_of(module: str) -> list[Mutant]:
    """All of them, by line; those that change no more than types or are no Python are left out."""
    source = (ROOT / module).read_text()
    found = {_meaning(source): Mutant(module, 0, "", "", "", source)}
    for name, operator in _operators().items():
        for mutated in _mutations(source, operator):
            try:
                meaning = _meaning(mutated)
            except SyntaxError:
                continue
            if meaning not in found:
                found[meaning] = Mutant(module, *_change(source, mutated, name), mutated)
    return sorted((mutant for mutant in found.values() if mutant.line), key=lambda mutant: mutant.line)


@cache
def _operators() -> dict[str, Operator]:
    names = [f"ReplaceComparisonOperator_{name}" for name in _COMPARISONS]
    names += [f"ReplaceBinaryOperator_{name}" for name in _SUMS]
    theirs = {name: get_operator(f"core/{name}")() for name in (*names, *_REST)}
    return {**theirs, "TurnSum": TurnSum(), "ForgetCall": ForgetCall()}


def _mutations(source: str, operator: Operator) -> Iterator[str]:
    occurrence = 0
    while (mutated := mutate_code(source, operator, occurrence)) is not None:
        yield mutated
        occurrence += 1


def _meaning(source: str) -> str:
    """The module without its layout, decorators and annotations of functions. Raises SyntaxError."""
    return ast.dump(_Essence().visit(ast.parse(source)))


class _Essence(ast.NodeTransformer):
    """Equal for two ways to write the same."""

    _OPPOSITES: ClassVar[dict[type[ast.cmpop], type[ast.cmpop]]] = {
        ast.Is: ast.IsNot,
        ast.IsNot: ast.Is,
        ast.In: ast.NotIn,
        ast.NotIn: ast.In,
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
    }

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Without its type."""
        return ast.arg(node.arg)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Without its decorators: what a dataclass allows is not what it says about money."""
        node.decorator_list = []
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """`not x is y` is `x is not y`."""
        self.generic_visit(node)
        inner = node.operand
        if not (isinstance(node.op, ast.Not) and isinstance(inner, ast.Compare) and len(inner.ops) == 1):
            return node
        opposite = self._OPPOSITES.get(type(inner.ops[0]))
        return ast.Compare(inner.left, [opposite()], inner.comparators) if opposite else node


def _change(source: str, mutated: str, operator: str) -> tuple[int, str, str, str]:
    old, new = source.splitlines(), mutated.splitlines()
    number = next(number for number, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    changed = [line for line in unified_diff(old, new, n=0, lineterm="") if line[:1] in "+-"][2:]
    before = " ".join(line[1:].strip() for line in changed if line.startswith("-"))
    after = " ".join(line[1:].strip() for line in changed if line.startswith("+"))
    return number + 1, operator, before, after
