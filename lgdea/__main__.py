"""``python -m lgdea``."""

from lgdea.cli import main

main()
