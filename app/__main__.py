"""The command line: `prooflog --help`."""

import gc
import os

# Nothing here multiplies matrices that are worth a second thread; to start the threads is a tenth of a second.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What is imported stays: looking for garbage in it, now or later, finds none and takes a tenth of a start.
gc.disable()
from app.commands import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
