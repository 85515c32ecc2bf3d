"""`prooflog` with a clock that jumps by hours, several times a second, both ways."""

import os
import random
import sys
import time
from datetime import datetime, timedelta, tzinfo

STEP_SECONDS = 0.15
HOURS_MAX = 5.0


class SteppingClock(datetime):
    """The calendar's class, but for what it calls now."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """The time, hours too late or too early; equal steps for equal seeds."""
        step = int(time.monotonic() / STEP_SECONDS)
        hours = random.Random(f"{os.environ['PROOFLOG_FAULTS_CLOCK']}/{step}").uniform(-HOURS_MAX, HOURS_MAX)
        return datetime.now(tz) + timedelta(hours=hours)


def main() -> None:
    """Run the command line with every clock of ours replaced."""
    from app.commands import main as prooflog  # noqa: PLC0415  (all modules must be there to be changed)

    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in {"app", "projections"} and getattr(module, "datetime", None) is datetime:
            module.datetime = SteppingClock  # type: ignore[attr-defined]
    prooflog()


if __name__ == "__main__":
    main()
