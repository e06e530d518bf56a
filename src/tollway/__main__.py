"""`python -m tollway` is `tollway`."""

from tollway.cli import main

main()
