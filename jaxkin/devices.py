"""The devices of one process: batches of k and of points are spread over them."""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def spread(batch: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """``batch`` with its first axis over this process's devices; itself where there is one, or nothing to part.

    What is jitted on it then runs on all of them. As many devices are used as divide the batch, a power of two.
    """
    devices = jax.local_devices()
    count = 1 << (len(devices).bit_length() - 1) if np.ndim(batch) else 1
    while count > 1 and len(batch) % count:
        count //= 2
    if count <= 1 or not len(batch):
        return batch
    return jax.device_put(batch, NamedSharding(Mesh(np.array(devices[:count]), ("batch",)), PartitionSpec("batch")))
