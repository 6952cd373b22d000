"""`python -m evertoken`: the command `evertoken`, even if its script is not on the path."""

from evertoken.cli.__main__ import main

if __name__ == "__main__":
    main()
