"""`python -m engine`: the same program as `groundswell`."""

from engine.cli.main import main

if __name__ == "__main__":
    main()
