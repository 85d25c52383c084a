"""Mutation check of the caching policy: does a test fail when a rule is changed?

    python scripts/mutation_check.py [module...]

Each comparison, condition and number in the modules of cache_manager/rfc9111 (all of them, or those
named) is changed in memory, one at a time, and the unit tests of that package are run. A change
that no test notices is printed; the exit status is 1 if there is one that EQUIVALENT does not list,
or if EQUIVALENT lists one that is noticed or gone. Needs fork(2); writes no files.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "caching_proxy.cache_manager.rfc9111"
SOURCES = ROOT / "src" / Path(*PACKAGE.split("."))
TESTS = ROOT / "tests" / "unit" / "cache_manager" / "rfc9111"
SECONDS = 120  # for the tests of one mutant; a mutant that hangs has been noticed

EQUIVALENT = {
    "directives.parse_delta_seconds: "
    "FOREVER if len(digits) > 10 else min(int(digits or b'0'), FOREVER) -> "
    "FOREVER if len(digits) > 11 else min(int(digits or b'0'), FOREVER)": (
        "eleven digits are more than FOREVER"
    ),
    "directives.parse_delta_seconds: "
    "FOREVER if len(digits) > 10 else min(int(digits or b'0'), FOREVER) -> "
    "FOREVER if len(digits) > 10 else min(int(digits or not b'0'), FOREVER)": "int(False) is 0",
    "freshness._bounded: seconds < 0 -> seconds < 1": "0 is 0 either way",
    "freshness._bounded: seconds < 0 -> seconds <= 0": "0 is 0 either way",
    "freshness._bounded: seconds if seconds < FOREVER else FOREVER -> "
    "seconds if seconds <= FOREVER else FOREVER": "FOREVER is itself either way",
    "freshness.initial_age: "
    "_bounded(apparent_age if apparent_age > corrected_age else corrected_age) -> "
    "_bounded(apparent_age if apparent_age >= corrected_age else corrected_age)": (
        "both are the same where they are equal"
    ),
    "reuse.judge_reuse: "
    "0 if must_revalidate else stale_while_revalidate -> "
    "-1 if must_revalidate else stale_while_revalidate": (
        "the window is compared with how long a stale response has been stale, 0 or more"
    ),
    "targeted.parse_targeted: 0 -> -1": "Pattern.match takes a negative position for 0",
    "vary._read_preferences: "
    "groups.setdefault(float(found[2] or 1), []).append(found[1]) -> "
    "groups.setdefault(float(found[2] or 2), []).append(found[1])": (
        "2 is above all other weights, as 1 is: the normalised field has no q=1"
    ),
    "vary._evidence: (yield (group[0], frozenset({language, _NOTHING}))) -> "
    "(yield (group[-1], frozenset({language, _NOTHING})))": "the group has one member",
    "vary.choose_by_language: "
    "zip(languages, stored, strict=True) -> zip(languages, stored, strict=False)": (
        "both are equally long"
    ),
}
"""Changes that change nothing, and why."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


@dataclass(frozen=True)
class Mutant:
    """A module with one change; `name` is "module.function: before -> after" of an expression."""

    module: str
    name: str
    code: CodeType


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of one module."""
    path = SOURCES / f"{module}.py"
    tree = ast.parse(path.read_text())
    for place in places(tree, module):
        before = ast.unparse(place.whole)
        for changed in changes(place):
            place.put(changed)
            after = ast.unparse(changed if place.whole is place.node else place.whole)
            name = f"{place.scope}: {before} -> {after}"
            yield Mutant(module, name, compile(ast.fix_missing_locations(tree), path, "exec"))
        place.put(place.node)


def unchanged_module(module: str) -> Mutant:
    """A module as it is."""
    path = SOURCES / f"{module}.py"
    return Mutant(module, f"{module}: unchanged", compile(path.read_text(), path, "exec"))


@dataclass(frozen=True)
class Place:
    """An expression: in which function, inside which whole expression, and of what it is a part."""

    scope: str
    whole: ast.expr
    parent: ast.AST
    field: str
    at: int | None
    node: ast.expr

    def put(self, node: ast.expr) -> None:
        """Set another expression here."""
        if self.at is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.at] = node


def places(parent: ast.AST, scope: str, whole: ast.expr | None = None) -> Iterator[Place]:
    """Every expression below `parent`, apart from types and decorators."""
    if isinstance(parent, ast.FunctionDef | ast.ClassDef):
        scope = f"{scope}.{parent.name}"
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        numbered = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for at, node in numbered:
            if isinstance(node, ast.expr):
                yield Place(scope, whole or node, parent, field, at, node)
                yield from places(node, scope, whole or node)
            elif isinstance(node, ast.AST):
                yield from places(node, scope, whole)


def changes(place: Place) -> Iterator[ast.expr]:
    """What an expression may be mistaken for."""
    node = place.node
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                operators = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                yield ast.Compare(node.left, operators, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
    is_condition = place.field in ("test", "ifs") or isinstance(place.parent, ast.BoolOp)
    if is_condition and not isinstance(node, ast.Compare | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), node)


def unnoticed(candidates: Iterable[Mutant], jobs: int) -> Iterator[Mutant]:
    """The mutants with which all tests pass."""
    running: dict[int, Mutant] = {}
    for mutant in candidates:
        running[start(mutant)] = mutant
        if len(running) == jobs:
            yield from finished(running)
    while running:
        yield from finished(running)


def start(mutant: Mutant) -> int:
    """The process that runs the tests with a mutant; its exit status is 0 if they pass."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(SECONDS)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    status = 1
    try:
        status = run_tests(mutant)
    finally:
        os._exit(status)


def finished(running: dict[int, Mutant]) -> Iterator[Mutant]:
    """Waits for one of the processes; its mutant if that was not noticed."""
    pid, status = os.wait()
    mutant = running.pop(pid)
    if status == 0:
        yield mutant


def run_tests(mutant: Mutant) -> int:
    """0 when all tests pass, those of the mutant's own module first."""
    # The project's own configuration is for plugins that these tests don't need.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-x", "-p", "no:cacheprovider", "--import-mode=importlib", f"--rootdir={ROOT}"]
    options += ["-c", os.devnull]
    install(mutant)
    own = TESTS / f"test_{mutant.module}.py"
    if own.exists() and (status := pytest.main([*options, str(own)])):
        return int(status)
    return int(pytest.main([*options, str(TESTS), f"--ignore={own}"]))


def install(mutant: Mutant) -> None:
    """Make `import` find the mutant in place of the module."""
    name = f"{PACKAGE}.{mutant.module}"
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(mutant.code, module.__dict__)


def main() -> int:
    """Check the modules named on the command line, or all."""
    known = sorted(path.stem for path in SOURCES.glob("*.py") if path.stem != "__init__")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("module", nargs="*", help=", ".join(known))
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    arguments = parser.parse_args()
    chosen = arguments.module or known
    if unknown := set(chosen) - set(known):
        parser.error(f"no such module: {', '.join(sorted(unknown))}: use {', '.join(known)}")

    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    unchanged = [unchanged_module(module) for module in chosen]
    if len(list(unnoticed(unchanged, arguments.jobs))) < len(unchanged):
        print("tests fail without any change: run pytest first")
        return 1

    candidates = [mutant for module in chosen for mutant in mutants(module)]
    survivors = {mutant.name for mutant in unnoticed(candidates, arguments.jobs)}
    listed = {name for name in EQUIVALENT if name.partition(".")[0] in chosen}
    for name in sorted(survivors - listed):
        print(f"survives: {name}")
    for name in sorted(listed - survivors):
        print(f"listed as equivalent, but is not there or is noticed: {name}")
    print(
        f"{len(candidates)} mutants, {len(survivors)} survive, {len(listed)} listed as equivalent"
    )
    return 1 if survivors != listed else 0


if __name__ == "__main__":
    sys.exit(main())
