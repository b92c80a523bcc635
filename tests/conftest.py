"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def shared_data():
    """Return the folder of real scanner files, which lies beside the project's root."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the scanner files in {SHARED_DATA}, which are not part of the project")
    return SHARED_DATA


@pytest.fixture
def samples():
    """Return the folder of the project's own samples."""
    return ROOT / "data" / "samples"
