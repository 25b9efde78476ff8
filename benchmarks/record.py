"""Write a benchmark's table to JSON beside the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import jax

RESULTS = Path(os.environ.get("JAXKIN_RESULTS", Path(__file__).parent / "results"))


def save(name: str, rows: list[dict], **facts) -> Path:
    """results/NAME-DEVICE.json."""
    device = jax.devices()[0]
    label = device.device_kind.replace(" ", "-").lower()
    document = {
        "benchmark": name,
        "device": device.device_kind,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "jax": jax.__version__,
        **facts,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{label}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def shared_data() -> Path | None:
    """The folder of reference data, or None: JAXKIN_SHARED, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("JAXKIN_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    return folder if folder.is_dir() else None
