"""Why tables are no configuration, in one line that names the key and the nearest valid one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from jaxkin.cli import impurities, phonons
from jaxkin.errors import ConfigError, nearest, shortened

LISTS = {"impurities": impurities, "phonons": phonons}
"""Modules of the lists of tables in [disorder], which have ``KINDS`` and ``NEEDED``."""
STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def refusal(
    error: msgspec.ValidationError, tree: dict[str, Any], root: type[msgspec.Struct], where: str
) -> ConfigError:
    """The error to raise for one of msgspec's.

    Args:
        error: of ``msgspec.convert(tree, root)``.
        tree: the tables.
        root: what they should be.
        where: file, or "configuration".
    """
    message, _, path = str(error).replace(" | null", "").partition(" - at ")
    steps = [one or int(number) for one, number in STEP.findall(path.strip("`").removeprefix("$"))]
    place = path.strip("`$.")
    listed = LISTS.get(str(steps[1])) if len(steps) > 1 and steps[0] == "disorder" else None
    kinds: dict[str, type[msgspec.Struct]] = {} if listed is None else dict(listed.KINDS)
    if unknown := re.search(r"unknown field `(.*)`", message):
        kind, said = _table(tree, root, steps)
        choices = [*(["kind"] if kind in kinds.values() else []), *kind.__struct_fields__]
        return ConfigError(
            f"{where}: unknown key {shortened(unknown[1], 60)!r}{said}{nearest(unknown[1], choices)}; "
            f"valid keys: {', '.join(choices)}."
        )
    if missing := re.search(r"missing required field `(.*)`", message):
        said = _table(tree, root, steps)[1]
        meaning = "" if listed is None else f", {listed.NEEDED[missing[1]]}"
        table = tree["disorder"][steps[1]][steps[2]] if missing[1] == "kind" and len(steps) > 2 else {}
        written = [key for key in table if not any(key in kind.__struct_fields__ for kind in kinds.values())]
        misspelt = f" (is {written[0]!r} misspelt?)" if written and nearest("kind", written[:1]) else ""
        return ConfigError(f"{where}:{said.removeprefix(' in')} needs {missing[1]}{meaning}{misspelt}.")
    choices = _choices(_table(tree, root, steps[:-1])[0], steps)
    value = re.search(r"[Ii]nvalid (?:enum )?value '(.*)'", message)
    hint = f"; choose one of {', '.join(choices)}{nearest(value[1], choices)}" if value and choices else ""
    return ConfigError(f"{where}: {message[0].lower()}{shortened(message[1:])} at {place or 'the top level'}{hint}.")


def _table(tree: Any, root: type[msgspec.Struct], steps: Sequence[str | int]) -> tuple[type[msgspec.Struct], str]:
    """The kind of table at a place, and the place in words."""
    if len(steps) > 2 and steps[0] == "disorder" and steps[1] in LISTS:
        table = tree["disorder"][steps[1]][steps[2]]
        name = table.get("kind") if isinstance(table, dict) else None
        said = f" in [[disorder.{steps[1]}]] number {int(steps[2]) + 1}"
        return LISTS[str(steps[1])].KINDS.get(str(name), root), said + (f" (kind = {name!r})" if name else "")
    fields = {field: kind for field, kind in get_type_hints(root).items() if field in root.__struct_fields__}
    kind = fields.get(str(steps[0])) if steps else None
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, f" in [{steps[0]}]"
    return root, ""


def _choices(table: type[msgspec.Struct], steps: Sequence[str | int]) -> list[str]:
    """The texts that a key may have, if only some are allowed."""
    if not steps:
        return []
    if steps[-1] == "kind" and len(steps) > 1 and steps[1] in LISTS:
        return list(LISTS[str(steps[1])].KINDS)
    kind = get_type_hints(table).get(str(steps[-1]))
    allowed = [kind, *get_args(kind)]
    return [text for one in allowed if get_origin(one) is Literal for text in get_args(one)]
