"""What is derived from the log: the table of contents.

`experiments` comes first, since the others read the plans that it folds; `conversions` comes after
`exposures`, since it reads which of them a step changed.
"""

from projections import conversions, experiments, exposures

PROJECTIONS = {
    "experiments": experiments,
    "exposures": exposures,
    "conversions": conversions,
}

# Raise when derived tables change: a generation with other ones is derived anew at start, beside the live one.
LAYOUT = 8

# Raise, beside LAYOUT, when equal logs are counted otherwise: digests say so, as they cover it.
PROJECTION_VERSION = 1
