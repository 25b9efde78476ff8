"""``python -m jaxkin``."""

from jaxkin.cli.app import main

main()
