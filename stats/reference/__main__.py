"""Prints a line for each vector of a file that fails and, last, how many passed and failed."""

import sys
from pathlib import Path

from stats.reference.vectors import failures, read_vectors

_USAGE = 2


def main(arguments: list[str]) -> int:
    """Evaluate a file; exit code 0 when all vectors pass, 1 when some fail, 2 for no such file."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m stats.reference FILE.json\n")
        return _USAGE
    try:
        vectors = read_vectors(Path(arguments[0]).read_bytes())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return _USAGE
    failed = 0
    for vector in vectors:
        if found := failures(vector):
            failed += 1
            sys.stdout.write(f"{vector.name}: {'; '.join(found)}\n")
    sys.stdout.write(f"{len(vectors) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
