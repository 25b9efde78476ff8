"""Put the figures of ``results/*.json`` into the tables of README.md and docs/benchmarks.md.

    python benchmarks/report.py [--check]

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; the words round it are written by hand.
``--check`` writes nothing and fails if a page differs from the results. Tables are of the files ``NAME-cpu.json``;
what other devices have computed is listed in the table ``devices``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
TABLE = re.compile(r"<!-- table (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}-cpu.json").read_text())


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """Markdown; ``head`` names the columns, separated by |."""
    columns = head.split("|")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).strip() for cell in line) + " |" for line in lines)


def number(value: float) -> str:
    """Two digits; powers of ten beyond 0.01 and 100,000."""
    if value == 0:
        return "0"
    if not 0.01 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return f"{float(f'{value:.2g}'):,.10g}"


def against_peer() -> str:
    """Seconds of both codes at equal error, and their ratio."""
    rows = []
    ratios = result("te_against_peer")["ratios"]["cpu_seconds"]
    for error in (2e-2, 1e-2, 3e-3, 1e-3):
        for where, curve in ratios.items():
            for row in (row for row in curve if row["error"] == error):
                rows.append(("tellurium, T = 0", error, row, f", {where}"))
    for name, problem in (
        ("te_scan_against_peer", "tellurium, six levels, kT = 10 meV"),
        ("chiral_against_peer", "chiral stack, kT = 0.1 eV"),
    ):
        for row in result(name)["ratios"]["cpu_seconds"]:
            rows.append((problem, row["error"], row, ""))
    return table(
        "problem | error | jaxkin (s) | WannierBerri (s) | ratio",
        (
            (
                problem,
                number(error),
                number(row["ours"]),
                f"{number(row['peer'])} {row['peer_by']}{where}",
                f"**{number(row['ratio'])}**" if row["peer_by"] == "measured" else number(row["ratio"]),
            )
            for problem, error, row, where in rows
        ),
    )


def runs(name: str, method: str = "method") -> str:
    """Every run of a comparison: error, processor and wall seconds."""
    rows = sorted(result(name)["rows"], key=lambda row: not row[method].startswith("jaxkin"))
    return table(
        "method | size | k points | error | processor s | wall s",
        (
            (
                row[method] if row[method].startswith(("jaxkin", "Wannier")) else f"WannierBerri, {row[method]}",
                _size(row),
                f"{int(row.get('k_points', row.get('evaluations', 0))):,}",
                number(row["error"]),
                number(row["cpu_seconds"]),
                number(row["seconds"]),
            )
            for row in rows
        ),
    )


def _size(row: dict) -> str:
    if "replicas" in row:
        return f"n = {row['n']}, {row['replicas']} replicas"
    grid = row.get("job", {}).get("grid", {"nk": row.get("n")})
    size = f"{grid['nk']}³" if "nk" in grid else f"{grid['length']:g} Å"
    rounds = row.get("job", {}).get("adpt_num_iter")
    return f"from {size}, {rounds} rounds" if rounds else size


def levels() -> str:
    """The six-level scan: errors of the levels that have a converged value."""
    rows = sorted(
        result("te_scan_against_peer")["rows"], key=lambda row: (row["method"][0] != "j", row["method"], row["n"])
    )
    return table(
        "method | n | error at −100, −80, −40, 0 meV | processor s",
        (
            (row["method"], row["n"], ", ".join(map(number, _ordered(row["errors"]))), number(row["cpu_seconds"]))
            for row in rows
        ),
    )


def _ordered(errors: dict[str, float]) -> list[float]:
    return [errors[level] for level in sorted(errors, key=float)]


def reference() -> str:
    return table(
        "Fermi level (eV) | grid n | difference | our standard error | the reference's own change, 160³ → 240³ | "
        "evaluations | seconds",
        (
            (
                row["fermi_level"],
                row["n"],
                *(number(row[key]) for key in ("difference", "stderr", "bar", "evaluations")),
                f"{row['seconds']:.0f}",
            )
            for row in result("te_reference")["rows"]
        ),
    )


def kramers_weyl() -> str:
    return table(
        "method | evaluations of H | points | RMS relative error",
        (
            (row["method"], f"{row['evaluations']:,}", f"{row['points']:,}", number(row["rms_relative_error"]))
            for row in result("kramers_weyl_table")["rows"]
        ),
    )


def honest_errors() -> str:
    return table(
        "case | n | seeds | mean pull | its standard deviation | relative standard error",
        (
            (
                row["case"],
                row["n"],
                row["seeds"],
                f"{row['mean']:.2f}",
                f"{row['standard_deviation']:.2f}",
                number(row["relative_stderr"]),
            )
            for row in result("honest_errors")["rows"]
        ),
    )


def disorder_costs() -> str:
    return table(
        "points | one application of S (s) | floor (s) | ratio",
        (
            (
                f"{row['points']:,}",
                number(row["seconds_per_apply"]),
                number(row["floor_seconds"]),
                number(row["ratio"]),
            )
            for row in result("disorder_costs")["rows"]
        ),
    )


def finite_range() -> str:
    """A potential of finite range with all mechanisms, by the number of points."""
    return table(
        "points | rank | wall s | processor s | peak (GiB) | ∫w^A, relative | optical theorem",
        (
            (
                f"{row['points']:,}",
                row["rank"],
                *(number(row[key]) for key in ("seconds", "processor_seconds", "peak_GiB", "flux", "optical_theorem")),
            )
            for row in result("finite_range_at_scale")["rows"]
        ),
    )


def main_job() -> str:
    """Stages of the main job against their floors."""
    document = result("main_job")
    return table(
        f"stage, {document['points']:,} points | wall s | processor s | floor (s) | wall over floor",
        (
            (
                row["stage"],
                number(row["seconds"]),
                number(row["cpu_seconds"]),
                number(row["floor_seconds"]) if "floor_seconds" in row else "",
                number(row["seconds"] / row["floor_seconds"]) if "floor_seconds" in row else "",
            )
            for row in document["rows"]
        ),
    )


def solves() -> str:
    """Linear solves against eigensystems, milliseconds of one point."""
    return table(
        "orbitals | translations | points | what | by solves (ms) | by eigensystems (ms) | ratio",
        (
            (
                *(f"{row[key]:,}" for key in ("orbitals", "translations", "points")),
                what,
                *(number(row["cpu_ms"][f"{what} by {way}"]) for way in ("solves", "eigensystems")),
                number(row["ratio"][what]),
            )
            for row in result("solves")["rows"]
            for what in ("roots", "geometry")
        ),
    )


def devices() -> str:
    """Where else the suite has run."""
    files = [path for path in sorted(RESULTS.glob("*.json")) if not path.stem.endswith("-cpu")]
    documents = [json.loads(path.read_text()) for path in files]
    if not files:
        return "No other device's figures have been recorded yet; `scripts/gpu_check` records those of a GPU."
    return table(
        "file | device | jax | sections",
        (
            (path.name, document["device"], document["jax"], ", ".join(filter(None, map(_section, document["rows"]))))
            for path, document in zip(files, documents, strict=True)
        ),
    )


def _section(row: dict) -> str:
    """A section of ``gpu_check.py``, and how it went; nothing for other files."""
    if "section" not in row:
        return ""
    ended = "ok" if row["ok"] else "skipped" if "skipped" in row else "not ok"
    return f"{row['section']} {ended} ({row['seconds']:.0f} s)"


TABLES: dict[str, Callable[[], str]] = {
    "against_peer": against_peer,
    "te_against_peer": lambda: runs("te_against_peer"),
    "te_scan_against_peer": levels,
    "chiral_against_peer": lambda: runs("chiral_against_peer"),
    "te_reference": reference,
    "kramers_weyl_table": kramers_weyl,
    "honest_errors": honest_errors,
    "disorder_costs": disorder_costs,
    "finite_range": finite_range,
    "main_job": main_job,
    "solves": solves,
    "devices": devices,
}


def filled(page: str) -> str:
    """The page with every table made anew."""
    return TABLE.sub(lambda found: f"<!-- table {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->", page)


def main() -> None:
    stale = []
    for path in PAGES:
        page = path.read_text()
        if (new := filled(page)) != page:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new)
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)}: the tables differ from benchmarks/results; run `python benchmarks/report.py`.")


if __name__ == "__main__":
    main()
