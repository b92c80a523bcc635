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
        r"\A##TITLE=",
        "is a parameter file of Bruker; convert the acquisition to NIfTI-MRS (spec2nii bruker)",
    ),
    (
        r"\A# === DATA DESCRIPTION FILE|^# +typ +mix +dyn ",
        "is Philips' list of raw data; export SDAT/SPAR, or convert it to NIfTI-MRS (spec2nii)",
    ),
    (
        r"\A\s*\{",
        "is a JSON text, not a scanner's file; give the NIfTI-MRS file that it describes",
    ),
)
_PICTURE: Final = "is a picture or a document; values printed on it can be given: LL=... Cho=..."
_MAGIC: Final = (
    (b"\x89PNG\r\n", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"%PDF-", _PICTURE),
    (b"II*\0", _PICTURE),
    (b"MM\0*", _PICTURE),
    (
        b"PK\x03\x04",
        "is a ZIP archive or an office document; unpack it and give the scanner's file",
    ),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, which is not supported; convert it to NIfTI-MRS"),
    (b"MATLAB 5.0 MAT-file", "is a MATLAB file, which is not supported; convert it to NIfTI-MRS"),
    (b"\x93NUMPY", "is a NumPy array without a word on what was measured; write it as NIfTI-MRS"),
)
_PEAK_VALUE: Final = re.compile(r"\b(?:LL|t?Cho|t?Cr|t?NAA)[ \t]*[=:;,\t ][ \t]*\d", re.IGNORECASE)
_TWO_COLUMNS: Final = re.compile(r"[ \t]*[-+.\deE]+[ \t,;]+[-+.\deE]+[ \t]*")


def recognises(source: Source) -> bool:
    """Return whether the file, which no other format has recognised, is of a known kind."""
    return _sentence(source) is not None


def _sentence(source: Source) -> str | None:
    from mrs_necrosis.io.peak_table import is_peak_table

    for magic, sentence in _MAGIC:
        if source.head.startswith(magic):
            return sentence
    if not source.is_text:
        return None

    text = source.head_text
    for pattern, sentence in _SENTENCES:
        if re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            return sentence
    if is_peak_table(source.path):
        return "is a peak table, not spectra; read it with read_peaks"
    if len(_PEAK_VALUE.findall(text)) > 1:
        return (
            "holds peak values but is no peak table: write it as CSV with the titles peak,value, "
            "or give LL=... Cho=... on the command line"
        )
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
