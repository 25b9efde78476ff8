"""Several devices of one process: what is computed on them is what one gives."""

import json
import os
import subprocess
import sys

import numpy as np

ROUNDING = 1e-11
"""Relative to the largest component of g."""
JOB = """
import json, jax, numpy as np, jaxkin as jk
from jaxkin.devices import spread
from jaxkin.hamiltonian.spectrum import operators

model = jk.models.get("kramers-weyl-d4")
used = [len(operators(model, spread(np.full((rows, 3), 0.1)))[0].sharding.device_set) for rows in (64, 6, 5)]
surface = jk.fermi_surface(model, -1.5, sampler=jk.Lines(n=6), replicas=2)
potential = [[1.0, 0.3], [0.3, -0.5]]
disorder = {
    "kernel": (jk.RelaxationTime(1.0, 50.0, 1.0), "rta"),
    "factorised": (jk.PointImpurity(potential, [0, 1], 0.01, order="third"), "exact"),
    "T-matrix": (jk.PointImpurity(potential, [0, 1], 0.01, rtol=0.1), "rta"),
    "on-shell": (jk.FiniteRangeImpurity(jk.Gaussian(1.0), 1.0, 0.01), "exact"),
}
g = {name: jk.gyrotropic_response(surface, one, solver=solver).g for name, (one, solver) in disorder.items()}
flat = {
    name: {part: estimate.samples.ravel().view(float).tolist() for part, estimate in parts.items()}
    for name, parts in g.items()
}
print(json.dumps({"devices": jax.local_device_count(), "used": used, "g": flat}))
"""


def test_four_devices_give_what_one_gives():
    results = []
    for count in (1, 4):
        flags = f"--xla_force_host_platform_device_count={count}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", JOB], capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    one, four = results
    assert (one["devices"], four["devices"]) == (1, 4)
    assert (one["used"], four["used"]) == ([1, 1, 1], [4, 2, 1])
    for name, parts in one["g"].items():
        scale = np.abs(parts["total"]).max()
        for part, expected in parts.items():
            np.testing.assert_allclose(four["g"][name][part], expected, 0, ROUNDING * scale, err_msg=f"{name} {part}")
            known = part != "gaussian_skew" or name != "kernel"
            assert (np.abs(expected).max() > 1e-6 * scale) == known, "compares zeros"
