"""Tables whose numbers are whole, however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

FRAME = 3
"""Letters of a column beside its content: a border and two blanks."""

Column = tuple[str, list[str]]
"""A header, which may have lines, and the cells below it."""


class Sheets:
    """Columns of text; where they do not fit side by side, in several tables one after the other.

    Args:
        title: above the first.
        front: columns that each table begins with, as header and cells.
        columns: the others.
        caption: below the last.

    >>> sheets = Sheets("g", [("ab", ["xx"])], [("intrinsic", ["-1.2(5)e-04"]), ("skew", ["2.3(5)e-06"])])
    >>> Console(width=24).print(sheets)
    g
    ┏━━━━┳━━━━━━━━━━━━━┓
    ┃ ab ┃   intrinsic ┃
    ┡━━━━╇━━━━━━━━━━━━━┩
    │ xx │ -1.2(5)e-04 │
    └────┴─────────────┘
    ┏━━━━┳━━━━━━━━━━━━┓
    ┃ ab ┃       skew ┃
    ┡━━━━╇━━━━━━━━━━━━┩
    │ xx │ 2.3(5)e-06 │
    └────┴────────────┘
    """

    def __init__(self, title: str, front: list[Column], columns: list[Column], caption: str | None = None):
        self.title, self.front, self.columns, self.caption = title, front, columns, caption

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts = list(self._parts(options.max_width))
        for number, part in enumerate(parts):
            table = Table(title=None if number else self.title, title_justify="left")
            columns = [*self.front, *part]
            for header, cells in columns:
                table.add_column(header, justify="right" if _of_numbers(cells) else "left", overflow="fold")
            for row in zip(*(cells for _, cells in columns), strict=True):
                table.add_row(*row)
            yield table
        if self.caption:
            yield Text(self.caption, style="italic dim")

    def _parts(self, width: int) -> Iterator[list[Column]]:
        """The columns that go side by side, one at least."""
        left = width - 1 - sum(map(_width, self.front))
        part: list[Column] = []
        for column in self.columns:
            if part and sum(map(_width, [*part, column])) > left:
                yield part
                part = []
            part.append(column)
        yield part


def _width(column: Column) -> int:
    header, cells = column
    return FRAME + max(map(cell_len, [*header.split("\n"), *cells]))


def _of_numbers(cells: list[str]) -> bool:
    return all(cell[:1] in ("", "-") or cell[0].isdigit() for cell in cells)
