"""`python -m usert` is the same as the `usert` command."""

from .cli import main

if __name__ == "__main__":
    main()
