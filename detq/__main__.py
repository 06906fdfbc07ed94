"""`python -m detq` is `detq`."""

from detq.cli import main

if __name__ == "__main__":
    main()
