"""``python -m jobs`` is the ``tidemill`` command."""

from jobs.cli import main

main()
