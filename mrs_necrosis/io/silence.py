"""Third-party readers print, warn and log header values; here they are kept quiet.

Python's warning filters and standard streams belong to the whole process, so one reader at a time
may change them: otherwise two threads could restore each other's state and silence the program
for good.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE_AT_A_TIME: Final = threading.RLock()
_LOGGERS: Final = ("pydicom", "nibabel.global")


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Keep warnings and logs of pydicom and nibabel away from the user."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = [logger.disabled for logger in loggers]
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


@contextlib.contextmanager
def no_output() -> Iterator[None]:
    """Keep, besides warnings and logs, what a library prints away from the user."""
    with (
        no_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield
