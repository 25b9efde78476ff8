"""One calculation by several processes, each with its own replicas: docs/parallel.md."""

from jaxkin.parallel.share import Share

__all__ = ["Share"]
