"""For mkdocstrings: doctests become code blocks, and the roles of references become links to what is documented."""

import ast
import re
from pathlib import Path

import griffe

STUB = ast.parse((Path(__file__).resolve().parents[1] / "jaxkin" / "__init__.pyi").read_text())
PUBLIC = {name.name for node in ast.walk(STUB) if isinstance(node, ast.ImportFrom) for name in node.names}
MODULES = {"models", "quantum", "symmetry", "units"}
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?(?P<name>[\w.]+)`")
DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", re.M)


class Docstrings(griffe.Extension):
    """Of every object, before it is parsed."""

    def on_instance(self, *, node, obj, agent, **options) -> None:
        """Rewrite its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(_link, DOCTEST.sub(_fence, obj.docstring.value))


def _fence(match: re.Match[str]) -> str:
    return f"{match['indent']}```pycon\n{match[0]}\n{match['indent']}```"


def _link(match: re.Match[str]) -> str:
    name = match["name"].removeprefix("jaxkin.")
    return f"[`{name}`][jaxkin.{name}]" if name in PUBLIC - MODULES else f"`{match['name']}`"
