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

from mrs_necrosis.staging import held

KERNELS = (
    "averaging.average_range",
    "search.aim_range",
    "search.linear_range",
    "search.minimise_range",
    "search.spectrum_range",
)


def is_cached() -> bool:
    """Return whether every kernel of the present source is compiled, here or in the cache.

    The compiler is imported only where its cache holds something to ask about, or lies where the
    compiler alone knows: in the user's home, where nothing may be written beside the source.
    """
    here = Path(__file__).parent / "kernels"
    told = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(told or here / "__pycache__")
    is_elsewhere = not told and not os.access(folder if folder.is_dir() else here, os.W_OK)
    files = (folder.rglob(f"{name}-*.nbi") for name in KERNELS)
    if not is_elsewhere and not all(any(found) for found in files):
        return False
    for room, name in (kernel.split(".") for kernel in KERNELS):
        kernel = getattr(import_module(f"mrs_necrosis.fitting.kernels.{room}"), name)
        try:
            # numba's own index, which is empty where the source is another; there is no public way
            known = kernel.signatures or kernel._cache._cache_file._load_index()
        except (AttributeError, OSError):
            return False
        if not known:
            return False
    return True


def compile_apart() -> None:
    """Compile every kernel in a process of its own; where that fails nothing is kept.

    Of several workers one compiles, and the others wait for what it keeps.
    """
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    command = "from mrs_necrosis.fitting.compiled import _call_all; _call_all()"
    with held(Path(__file__).parent):
        if is_cached():
            return
        subprocess.run(
            [sys.executable, "-c", command],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
