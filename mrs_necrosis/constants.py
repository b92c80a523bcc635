"""Physical constants and the names of the peaks, each with its source.

Chemical shifts are in ppm relative to the methyl protons of DSS (0 ppm), at 37 °C.
"""

from __future__ import annotations

from typing import Final

WATER_PPM: Final = 4.65
"""Water at 37 °C and pH 7: 4.65 ppm (Govindaraju, NMR Biomed. 13, 129 (2000), the value that
in vivo work refers to; it falls by 0.01 ppm per kelvin)."""

PROTON_MHZ_PER_TESLA: Final = 42.577478518
"""Proton gyromagnetic ratio over 2 pi (CODATA 2018)."""

FREQUENCY_MHZ: Final = (1.0, 1000.0)
DWELL_TIME_S: Final = (1e-5, 1e-2)
ECHO_TIME_S: Final = (0.0, 2.0)
"""Least and largest of each; another number is probably in another unit."""

FIELD_T: Final = (0.03, 23.0)
"""Lowest and highest field strength that is believed, in T: for protons, 1 to 1000 MHz."""

LACTATE_J_HZ: Final = 6.93
"""Coupling of lactate's CH3 and CH, in Hz (Govindaraju 2000)."""

PEAK_PPM: Final = {
    "Cho": 3.21,
    "Cr": 3.027,
    "NAA": 2.008,
    "mI": 3.56,
    "Lac": 1.313,
    "Lip13": 1.28,
    "Lip09": 0.89,
}
"""Centres of the groups that name the peaks. Cho: mean of the N(CH3)3 singlets of GPC (3.212) and
PCh (3.208); Cr: N-CH3 of creatine (3.027); NAA: acetyl CH3 (2.008); Lac: CH3 (1.313);
mI: centre of the strong multiplet (all Govindaraju 2000); lipids as in LCModel's defaults (1.28,
0.89)."""

PROTONS: Final = {"Cho": 9, "Cr": 3, "NAA": 3, "Lac": 3}
"""Protons of the group that names the peak: N(CH3)3, N-CH3, acetyl CH3, CH3."""

NORMAL_CHO_NAA: Final = 0.92
"""Largest of five regional means of normal brain: NAA/Cho from 1.09 (Song 1996, 25 volunteers,
1.5 T, TE 270 ms)."""

LL_PARTS: Final = ("Lip13", "Lip09", "Lac")
"""LL is the sum of these areas, as magnitudes; macromolecules stand apart."""

STANDARD_RATIOS: Final = (
    "Cho/Cr",
    "NAA/Cr",
    "Cho/NAA",
    "LL/Cr",
    "LL/Cho",
    "LL/NAA",
    "Lac/Cr",
    "mI/Cr",
)
"""Ratios that are reported wherever both peaks are in the result."""
