"""Files that lie beside spectra and are none: each gets its own true sentence."""

from __future__ import annotations

import re
from typing import Final

from mrs_necrosis.io.recording import Recording
from mrs_necrosis.io.source import Source

NAME: Final = "other"
_SENTENCES: Final = (
    (
        r"\$BASIS1?\b|\$NMUSED\b",
        "is a basis set of LCModel, not an acquisition; read_basis reads it",
    ),
    (
        r"\$LCMODL\b",
        "is a control file of LCModel; give the RAW file that it names",
    ),
    (
        r"LCModel \(Version|^\s*\$\$(?:CONC|MISC)",
        "is a result of LCModel (COORD or TABLE), not an acquisition; its data points are "
        "already phased and real (read_lcmodel_table reads it)",
    ),
    (
        r"\A\s*(?:<\?xml|<[A-Za-z][\w-]*[\s/>])",
        "is an XML or HTML document, not a scanner's file",
    ),
    (
        r"\A\s*Row,\s*Col,[^\n]*%SD",
        "is a result of LCModel, not an acquisition; read_lcmodel_table reads it",
    ),
    (
        r"SAGE Data Header|sagekey_",
        "is GE's text header of a P-file; give the P-file (.7) beside it",
    ),
    (
        r"\A\s*\{",
        "is a JSON text, not a scanner's file; give the NIfTI-MRS file that it describes",
    ),
)
_TWO_COLUMNS: Final = re.compile(r"[ \t]*[-+.\deE]+[ \t,;]+[-+.\deE]+[ \t]*")


def recognises(source: Source) -> bool:
    """Return whether the file is text, which no other format has recognised, of a known kind."""
    return source.is_text and _sentence(source) is not None


def _sentence(source: Source) -> str | None:
    from mrs_necrosis.io.peak_table import is_peak_table

    text = source.head_text
    for pattern, sentence in _SENTENCES:
        if re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            return sentence
    if is_peak_table(source.path):
        return "is a peak table, not spectra; read it with read_peaks"
    lines = text.splitlines()[:4]
    if len(lines) == 4 and all(_TWO_COLUMNS.fullmatch(line) for line in lines):
        return (
            "is two bare columns of numbers, which say neither their sign nor their frequency; "
            "give a format with a header"
        )
    return None


def parse(source: Source) -> Recording:
    """Refuse the file in one sentence."""
    source.fail(_sentence(source) or "is not a scanner's file")
