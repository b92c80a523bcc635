"""Whether the compiled solver was compiled before, on this machine and of this source.

The process that compiles does not run quite what it keeps: it calls the helpers that it optimised
on their own, and a process that loads the kernels the copies within them, which round otherwise in
the last digits. So they are compiled in a process apart, and every other loads them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

KERNELS = ("aim_range", "linear_range", "minimise_range", "average_range", "spectrum_range")


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


def compile_apart() -> None:
    """Compile every kernel in a process of its own; where that fails nothing is kept."""
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    command = "from mrs_necrosis.fitting.compiled import _call_all; _call_all()"
    subprocess.run(
        [sys.executable, "-c", command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
