"""Runs of cheap points that are killed at random moments and go on: ``python killed_runs.py FOLDER KILLS SEED``.

Nothing of JAX runs before the processes part, and points are random numbers: a hundred kills take a minute or two.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr

from jaxkin.cli import execution, study
from jaxkin.cli.config import load
from jaxkin.cli.defaults import completed
from jaxkin.cli.levels import places
from jaxkin.cli.record import Record
from jaxkin.output import dataset as ds
from jaxkin.output import pictures
from jaxkin.parallel import Share

CONFIG = completed(load("weyl", ["fermi_level={start=0.0, stop=0.1, count=5}", "temperature=[0.0, 10.0]"]))
PAUSE = 0.02
"""Seconds of computing for each point."""


class Point:
    def __init__(self, number, place):
        rng, self.number = np.random.default_rng(number), number
        g = rng.normal(size=(2, 1, 3, 3)) + 1j * rng.normal(size=(2, 1, 3, 3))
        coords = {"mechanism": ["skew", "total"], "frequency": [0.0], "fermi_level": place[0], "temperature": place[1]}
        data = xr.Dataset({"g": (("mechanism", "frequency", "a", "b"), g)}, coords=coords)
        document = {"fermi_level": place[0], "temperature": place[1], "g": ds.complex_parts(g).tolist(), "warnings": []}
        self.record = Record(document, data, (f"point {number}",))

    def summary(self):
        return ""


class Cheap(study.Study):
    def run(self, progress, done, share, kept, shelf):
        for number, place in enumerate(self.places):
            if number not in kept:
                time.sleep(PAUSE)
                done(Point(number, place))


def life(out: Path, kind: type[Cheap] = Cheap) -> None:
    wanted = execution.Wanted(out, json=True, resume=True)

    def prepare(config, progress):
        return kind(config, None, None, places(config.surface, None), np.ones((3, 3)))

    execution.execute(CONFIG, prepare, wanted, Share())


def result(out: Path):
    document, data = json.loads((out / "result.json").read_text()), ds.load(out / "result.nc")
    return {**document, "seconds": 0}, {name: data[name].values.tobytes() for name in data.variables}


def main(folder: Path, kills: int, seed: int) -> None:
    ds.versions = lambda: {"jax_version": "none"}  # asks JAX for its devices
    pictures.draw = lambda *_: []
    execution.Page.print = execution.Page.write = lambda *_, **__: None
    life(folder / "first")
    start = time.perf_counter()
    life(folder / "undisturbed")
    longest = 1.2 * (time.perf_counter() - start)
    expected, rng = result(folder / "undisturbed"), random.Random(seed)
    found, done, out = Counter(), 0, folder / "killed"
    while done < kills or out.exists():
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                life(out)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0)
        before = len(list(out.glob("points/*.nc")))
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        done += os.WIFSIGNALED(status)
        after = len(list(out.glob("points/*.nc")))
        assert after >= before, "a point was lost"
        if os.WIFSIGNALED(status):
            found[f"with {after} points"] += 1
            continue
        assert os.WEXITSTATUS(status) == 0
        assert result(out) == expected, "not the same result"
        found["the same result"] += 1
        shutil.rmtree(out)
    print(json.dumps({"kills": done, **found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
