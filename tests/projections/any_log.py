"""What must hold for any log: few logs in each run of the suite, more by `make thorough`."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings


def for_any_log(examples: int) -> Callable[[Any], Any]:
    """Try a test on so many drawn logs, or on PROOFLOG_EXAMPLES."""
    tried = settings(
        max_examples=int(os.environ.get("PROOFLOG_EXAMPLES", examples)),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )
    return lambda test: pytest.mark.any_log(tried(test))
