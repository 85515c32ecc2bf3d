"""The command line: `prooflog --help`."""

import gc

# What is imported stays: looking for garbage meanwhile finds none, and is a twentieth of the time.
gc.disable()
from app.commands import main  # noqa: E402

gc.enable()

if __name__ == "__main__":
    main()
