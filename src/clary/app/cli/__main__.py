"""`python -m clary.app.cli` is `clary`."""

from clary.app.cli import main

main()
