"""Whether the compiled solver was compiled before, on this machine and of this source."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

KERNELS = ("linear_range", "minimise_range", "average_range", "spectrum_range")


def is_cached() -> bool:
    """Return whether every kernel of the present source is compiled, here or in the cache.

    The compiler is imported only where its cache holds something to ask about.
    """
    here = Path(__file__)
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or here.parent / "__pycache__")
    if not all(any(folder.rglob(f"kernels.{name}-*.nbi")) for name in KERNELS):
        return False
    kernels = import_module("mrs_necrosis.fitting.kernels")
    for name in KERNELS:
        kernel = getattr(kernels, name)
        try:
            # numba's own index, which is empty where the source is another; there is no public way
            known = kernel.signatures or kernel._cache._cache_file._load_index()
        except (AttributeError, OSError):
            return False
        if not known:
            return False
    return True
