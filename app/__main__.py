"""The command line: `prooflog --help`."""

from app.commands import main

if __name__ == "__main__":
    main()
