"""Whether the compiled solver was compiled before, found without importing the compiler."""

from __future__ import annotations

import os
import sys
from pathlib import Path

KERNELS = ("linear_range", "minimise_range", "average_range", "spectrum_range")


def is_cached() -> bool:
    """Return whether every kernel of the present source lies compiled on this machine."""
    loaded = sys.modules.get("mrs_necrosis.fitting.kernels")
    if loaded is not None and all(getattr(loaded, name).signatures for name in KERNELS):
        return True
    here = Path(__file__).with_name("kernels.py")
    newest = max(here.stat().st_mtime, here.with_name("lanes.py").stat().st_mtime)
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or here.parent / "__pycache__")
    if not folder.is_dir():
        return False
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    return all(
        any(
            version in path.name and path.stat().st_mtime > newest
            for path in folder.rglob(f"kernels.{name}-*.nbi")
        )
        for name in KERNELS
    )
