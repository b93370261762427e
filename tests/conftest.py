"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is no failure of a property; the seed is fixed so that a failure can be repeated.
settings.register_profile("lgdea", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lgdea")

# A shell that runs tests in the background makes them deaf to Ctrl-C, and with them every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real reports and X-rays; the test is skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LGDEA_DATA", default))
    if not folder.is_dir():
        pytest.skip("the real data folder is absent; set LGDEA_DATA to it")
    return folder
