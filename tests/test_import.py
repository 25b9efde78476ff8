"""What an import and ``--help`` load: nothing that takes time."""

import resource
import subprocess
import sys

import pytest

import jaxkin as jk

HEAVY = {"jax", "numpy", "scipy", "equinox", "xarray", "pandas", "optax", "matplotlib", "h5py"}
SECONDS = {"import": 1.5, "help": 0.5}
"""Of processor time, best of three; measured 0.08 and 0.33."""
STARTS = {
    "import": "import jaxkin as jk; dir(jk)",
    "help": "import sys; sys.argv = ['jaxkin', '--help']\nfrom jaxkin.cli.app import main\nmain()",
}


@pytest.mark.parametrize("what", STARTS)
def test_nothing_heavy_is_loaded_before_it_is_used(what):
    said = f"""
import atexit, sys
atexit.register(lambda: print('loaded', *sorted(set({sorted(HEAVY)}) & set(sys.modules))))
{STARTS[what]}
"""
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded"


@pytest.mark.parametrize("what", STARTS)
def test_it_takes_no_time(what):
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, "-c", STARTS[what]], capture_output=True, check=True)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    assert min(seconds() for _ in range(3)) < SECONDS[what]


def test_every_name_is_there_and_is_what_it_is_called():
    assert set(jk.__all__) <= set(dir(jk))
    for name in jk.__all__:
        assert getattr(jk, name).__name__.rpartition(".")[2] == name or name == "Disorder"
    with pytest.raises(AttributeError, match="no_such"):
        _ = jk.no_such


def test_brackets_are_printed(capsys):
    """Rich takes words in brackets as styles, and prints none of them; axes and extras of the package have some."""
    from jaxkin.cli.page import console

    console().print('C2 about [0 1 0], pip install "jaxkin[structure]"', style="dim")
    assert capsys.readouterr().out == 'C2 about [0 1 0], pip install "jaxkin[structure]"\n'
