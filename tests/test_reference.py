"""The API reference: every public name is on a page, and its docstring says parameters, errors, units and the source.

Public is what ``__all__`` of jaxkin and of its subpackages lists, what the pages of docs/reference show besides, and
the methods that these classes define; an override without a docstring is documented in its base. Docstrings are read
from the source text, so that no decorator hides anything. The rules:

- parameters: those of a class, and of a function that has two or more, stand in ``Args:`` or ``Attributes:``, or have
  a docstring of their own; what is said to be "as" another function or method may leave them to that;
- errors: what raises or warns, itself or by a ``check``, has ``Raises:`` or ``Warns:`` with classes that cover it;
- units: numbers, taken or returned, have a unit, or a word that says that they have none, or a reference to another;
- source: every class (but errors) and function has the number of an equation, a page with or without its section, or a
  publication; equations are those of the theory's pages, and pages and sections are there.
"""

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import jaxkin
from jaxkin import checks, errors
from jaxkin.surface.samples import Sampler

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in ROOT.glob("docs/**/*.md")}
SHOWN = re.findall(r"^::: (\S+)$", "\n".join(path.read_text() for path in ROOT.glob("docs/reference/*.md")), re.M)
BUILDERS = ("__init__", "__post_init__", "__check_init__")
NUMERIC = re.compile(r"\b(?:float|complex|ArrayLike|ndarray|Array|AnyArray|Number|Estimate)\b")
UNITS = (
    r"m?eV|m?Å|ps|THz|K|μ_B|S|A/m|V/m|m/s|kg/m|e²|cm|G|gauss|rad|1/|electron masses|Bohr magnetons|units?|"
    r"no unit|normalised|of any length|reduced|relative|[Cc]oordinates?|[Ii]ndex|[Ii]ndices|integers?|booleans|part|"
    r"factor|ratio|Pauli matrices|[Pp]robability|residuals?|χ²"
)
UNIT = re.compile(rf"(?<!\w)(?:{UNITS})(?:(?![^\W²³])|(?<=/))|:(?:func|meth|attr|class):|\bas there\b")
AS = re.compile(r"\b[Aa]s (?:(?:of|for|in) )?:(?:func|meth):`~?([\w.]+)`")
EQUATION = re.compile(r"\bEqs?\. \((\d+)[a-c]?\)(?:(?:, | and |-|–)\((\d+)[a-c]?\))*")
PAGE = re.compile(r"docs/((?:tutorials/)?\w+\.md)(?:,\s+\"([^\"]+)\")?")
PUBLISHED = re.compile(r"[A-ZÀ-Ž]\. .*\d, [\w.]+ \((?:19|20)\d\d\)", re.S)


@dataclass(frozen=True)
class Text:
    """A function, a method or a class, as it is written."""

    name: str
    node: ast.FunctionDef | ast.ClassDef
    module: ModuleType
    owner: "Text | None" = None

    @cached_property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""

    @cached_property
    def prose(self) -> str:
        """Without examples."""
        return re.sub(r"^ *>>> .*(?:\n.+)*", "", self.docstring, flags=re.M)

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_error(self) -> bool:
        return self.is_class and issubclass(getattr(self.module, self.node.name), Exception)

    @cached_property
    def methods(self) -> "dict[str, Text]":
        found = [node for node in self.node.body if isinstance(node, ast.FunctionDef)] if self.is_class else []
        return {node.name: Text(f"{self.name}.{node.name}", node, self.module, self) for node in found}

    @cached_property
    def parameters(self) -> dict[str, str]:
        """With their annotations; of a class its public fields, or what its ``__init__`` takes."""
        if not self.is_class:
            args = self.node.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
        elif "__init__" in self.methods:
            return self.methods["__init__"].parameters
        else:
            every = [node for node in self.node.body if isinstance(node, ast.AnnAssign)]
        pairs = {getattr(one, "arg", None) or one.target.id: one.annotation for one in every}
        kinds = {name: ast.unparse(annotation) if annotation else "" for name, annotation in pairs.items()}
        left_out = {name for name, kind in kinds.items() if name[0] == "_" or "ClassVar" in kind} | {"self", "cls"}
        return {name: kind for name, kind in kinds.items() if name not in left_out}

    def section(self, title: str) -> dict[str, str]:
        """Names of a section of the docstring, and what is said of each."""
        body = re.search(rf"^{title}:\n((?:    .*\n|\n)+)", self.docstring + "\n\n", re.M)
        items = re.split(r"^    (?! )(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): ", body[1] if body else "", flags=re.M)
        pairs = zip(items[1::2], items[2::2], strict=True)
        return {name.strip(" *"): text for names, text in pairs for name in names.split(",")}

    @cached_property
    def told(self) -> dict[str, str]:
        """What is said of each parameter, here or where it is said to be as."""
        return {name: words for other in (*self.others, self) for name, words in other.told_here.items()}

    @cached_property
    def told_here(self) -> dict[str, str]:
        own = {
            field.target.id: words.value.value
            for field, words in pairwise(self.node.body if self.is_class else ())
            if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr)
        }
        return own | self.section("Args") | self.section("Attributes")

    @cached_property
    def others(self) -> "list[Text]":
        """That this one is said to be as, or overrides."""
        found = []
        for base in self.bases:
            found += [text(base).methods[self.node.name]] if self.node.name in text(base).methods else []
        for match in AS.finditer(self.prose):
            owner, _, name = match[1].rpartition(".")
            if owner in ("", self.owner and self.owner.node.name) and self.owner and name in self.owner.methods:
                found.append(self.owner.methods[name])
            elif not owner or owner == "jaxkin":
                found.append(text(getattr(self.module, name, None) or getattr(jaxkin, name)))
        return [one for one in found if one != self]

    @property
    def bases(self) -> list[type]:
        """Of a method's class, the protocol of samplers among them."""
        mine = getattr(self.module, self.owner.node.name) if self.owner else object
        ours = [base for base in mine.__mro__[1:] if base.__module__.startswith("jaxkin.")]
        return ours + [Sampler] * (hasattr(mine, "sample") and mine is not Sampler)

    @cached_property
    def raised(self) -> set[str]:
        """Names of the errors that it raises and of its warnings, its own or a check's."""
        if self.is_class:
            return set().union(*(self.methods[name].raised for name in BUILDERS if name in self.methods))
        found = set()
        for node in ast.walk(self.node):
            if isinstance(node, ast.Raise) and node.exc is not None:
                found |= raised_in(node.exc)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
                found.add(ast.unparse(node.args[1]))
            elif isinstance(node, ast.Call):
                found |= self.raised_by(node.func)
        return found - {"NotImplementedError"}  # of a base whose method has to be overridden

    def raised_by(self, call: ast.expr) -> set[str]:
        """What a check raises: of jaxkin.checks, of the same module, or another method."""
        if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "self" and self.owner:
            method = self.owner.methods.get(call.attr)
            return method.raised if method and call.attr.lstrip("_").startswith("check") else set()
        function = getattr(self.module, call.id, None) if isinstance(call, ast.Name) else None
        if not inspect.isfunction(function) or function.__name__ == self.node.name:
            return set()
        is_check = function.__module__ == checks.__name__ or function.__name__.lstrip("_").startswith("check")
        return text(function).raised if is_check else set()


def raised_in(exception: ast.expr) -> set[str]:
    """Names of the classes that ``raise`` makes errors of; what was caught is raised again as it is."""
    if isinstance(exception, ast.IfExp):
        return raised_in(exception.body) | raised_in(exception.orelse)
    return {ast.unparse(exception.func)} if isinstance(exception, ast.Call) else {ast.unparse(exception)} - {"error"}


def subpackages() -> list[ModuleType]:
    """jaxkin, and its packages that say what is public."""
    names = [found.name for found in pkgutil.iter_modules(jaxkin.__path__, "jaxkin.") if found.ispkg]
    return [one for one in map(importlib.import_module, ["jaxkin", *names]) if getattr(one, "__all__", None)]


def resolved(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@cache
def text(thing) -> Text:
    thing = inspect.unwrap(thing)
    module = sys.modules[thing.__module__]
    (node,) = (one for one in ast.parse(inspect.getsource(module)).body if getattr(one, "name", "") == thing.__name__)
    return Text(thing.__name__, node, module)


def written(source: str) -> Text:
    """For the tests of the rules."""
    (node,) = ast.parse(textwrap.dedent(source)).body
    return Text(node.name, node, checks)


PATHS = [f"{package.__name__}.{name}" for package in subpackages() for name in package.__all__]
EVERY = {id(one): one for one in map(resolved, PATHS + SHOWN) if not inspect.ismodule(one)}
TOP = [text(one) for one in EVERY.values()]
ALL = TOP + [method for one in TOP for name, method in one.methods.items() if name[0] != "_" and method.docstring]


def unnamed(one: Text) -> list[str]:
    """Parameters that the docstring says nothing of."""
    if one.is_error or (len(one.parameters) < 2 and not one.is_class):
        return []
    return [name for name in one.parameters if name not in one.told]


def unsaid(one: Text) -> list[str]:
    """Errors that are raised and not named, or named and none."""
    sections = [other.section(title) for other in (one, *one.others) for title in ("Raises", "Warns")]
    named = {name for section in sections for name in section}
    known = {name: getattr(errors, name, None) or getattr(builtins, name, None) for name in named}
    classes = tuple(error for error in known.values() if isinstance(error, type) and issubclass(error, BaseException))
    strange = [name for name, error in known.items() if error not in classes]
    raised = {name: getattr(errors, name, None) or getattr(builtins, name, None) for name in one.raised}
    return strange + [name for name, error in raised.items() if error is None or not issubclass(error, classes)]


def without_unit(one: Text) -> list[str]:
    """Numeric parameters and results of which no unit is said."""
    entries = [(name, one.told.get(name, "")) for name, kind in one.parameters.items() if NUMERIC.search(kind)]
    found = [name for name, words in entries if words and not UNIT.search(f"{name} {words}")]
    returns = getattr(one.node, "returns", None)
    if returns and NUMERIC.search(ast.unparse(returns)) and not UNIT.search(one.prose):
        found.append("result")
    return found


def unfounded(one: Text) -> list[str]:
    """No source, or one that is not there."""
    if one.is_error:
        return []
    pages = PAGE.findall(one.prose)
    numbers = {number for match in EQUATION.finditer(one.prose) for number in re.findall(r"\((\d+)", match[0])}
    wrong = [number for number in numbers if f"({number})" not in PAGES["theory.md"] + PAGES["complete_theory.md"]]
    headings = {page: re.findall(r"^#+ (.*)$", content, re.M) for page, content in PAGES.items()}
    wrong += [f"{page} {title}" for page, title in pages if page not in PAGES or title not in ("", *headings[page])]
    return wrong or ([] if pages or numbers or PUBLISHED.search(one.prose) else ["none"])


def of_all(rule, things: list[Text]) -> str:
    return "\n".join(f"{one.name}: {', '.join(found)}" for one in things if (found := rule(one)))


def test_every_public_name_is_on_a_page():
    shown = {id(resolved(path)) for path in SHOWN}
    assert not [path for path in PATHS if id(resolved(path)) not in shown and not inspect.ismodule(resolved(path))]
    assert len(SHOWN) == len(set(SHOWN)) == len(shown) > 100


def test_every_method_is_documented_here_or_in_its_base():
    methods = [method for one in TOP for name, method in one.methods.items() if name[0] != "_"]
    assert not [one.name for one in methods if not any(text.docstring for text in (one, *one.others))]


def test_every_parameter_is_named():
    assert not (missing := of_all(unnamed, ALL)), missing


def test_what_raises_says_so():
    assert not (missing := of_all(unsaid, ALL)), missing


def test_numbers_have_units():
    assert not (missing := of_all(without_unit, ALL)), missing


def test_everything_has_a_source():
    assert not (missing := of_all(unfounded, TOP)), missing


def test_the_rules_see_what_is_missing():
    bare = written('''
        def f(level, tau: float) -> float:
            """A rate."""
            check_number("tau", tau, "a time")
            if level: raise SymmetryError
    ''')
    assert unnamed(bare) == ["level", "tau"]
    assert sorted(unsaid(bare)) == ["JaxkinError", "SymmetryError"]
    assert without_unit(bare) == ["result"] and unfounded(bare) == ["none"]
    wrong = written('''
        def f(level, tau: float) -> float:
            """A rate in 1/ps, Eq. (999) and docs/theory.md, "Nowhere".

            Args:
                level: any.
                tau: long.

            Raises:
                SymmetryError: always.
                Mistake: never.
            """
            check_number("tau", tau, "a time")
    ''')
    assert not unnamed(wrong) and sorted(unsaid(wrong)) == ["JaxkinError", "Mistake"]
    assert without_unit(wrong) == ["tau"] and unfounded(wrong) == ["999", "theory.md Nowhere"]
    good = written('''
        def f(level, tau: float) -> float:
            """A rate in 1/ps, Eq. (32) and docs/theory.md, "Disorder".

            Args:
                level, tau: in ps.

            Raises:
                JaxkinError: no time.
            """
            check_number("tau", tau, "a time")
    ''')
    assert not any(rule(good) for rule in (unnamed, unsaid, without_unit, unfounded))
