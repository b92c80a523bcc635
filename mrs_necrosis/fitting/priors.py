"""The library's own models, made of the tables in ``resources/priors`` for an acquisition."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from mrs_necrosis.constants import WATER_PPM
from mrs_necrosis.fitting.model import Baseline, Component, Model, Parameter
from mrs_necrosis.spectra import Acquisition

if TYPE_CHECKING:
    from mrs_necrosis.simulation.spins import Lines

LEAST: Final = {"gauss2": -500.0}
"""Least value of a kind: lines narrowed by more overflow before the longest FID ends (0.55 s)."""

OF_UNKNOWN: Final = "_of_unknown_echo"
"""Ends the name of a prior's value that holds where the echo time is unknown."""


@lru_cache(maxsize=4)
def _priors(name: str) -> dict[str, Any]:
    text = resources.files("mrs_necrosis.resources.priors").joinpath(f"{name}.toml").read_text()
    return tomllib.loads(text)


def group_protons() -> dict[str, float]:
    """Return the protons of the group that names each metabolite."""
    table = _priors("metabolites")
    return {e["name"]: float(e["protons"]) for e in table["component"] if "protons" in e}


def _at_echo_time(
    entries: Iterable[dict[str, Any]], echo_time_s: float | None
) -> Iterator[dict[str, Any]]:
    """Give the entries that are visible, and what they say of an unknown echo time."""
    for entry in entries:
        shortest, longest = entry.get("shortest_echo_s", 0.0), entry.get("longest_echo_s", np.inf)
        if not shortest <= (echo_time_s or 0.0) < longest:
            continue
        if echo_time_s is None:
            entry = entry | {
                key.removesuffix(OF_UNKNOWN): value
                for key, value in entry.items()
                if key.endswith(OF_UNKNOWN)
            }
        yield entry


def _macromolecules(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the macromolecules that a table takes from another one."""
    if "macromolecules" not in table:
        return []
    other = _priors(table["macromolecules"]["of"])["component"]
    return [entry for entry in other if entry["name"].startswith("MM")]


def _simulated(
    name: str, acquisition: Acquisition, echo_times_s: tuple[float, ...] | None
) -> Lines:
    from mrs_necrosis.simulation.spins import metabolite_lines

    return metabolite_lines(
        name,
        spectrometer_frequency_mhz=acquisition.spectrometer_frequency_mhz,
        sequence=acquisition.sequence,
        echo_time_s=acquisition.echo_time_s or 0.0,
        echo_times_s=echo_times_s,
        mixing_time_s=acquisition.mixing_time_s,
    )


def _of_lines(
    entry: dict[str, Any], shift_ppm: Iterable[float], weight: Iterable[complex], area: str = ""
) -> Component:
    """Return the component of simulated lines; weights are of one unit of area."""
    shifts = tuple(map(float, shift_ppm))
    return Component(
        name=entry["name"],
        area=area,
        shape=entry.get("shape", "metabolite"),
        shift_ppm=shifts,
        weight=tuple(map(complex, weight)),
        gauss_ppm=(0.0,) * len(shifts),
        **_amplitude_prior(entry),
    )


def _metabolite(entry: dict[str, Any], acquisition: Acquisition) -> Component:
    lines = _simulated(
        entry.get("metabolite", entry["name"]), acquisition, acquisition.echo_times_s
    )
    protons = float(entry["protons"])
    weight = (complex(a) / protons for a in lines.amplitude)
    return _of_lines(entry, lines.shift_ppm, weight, entry.get("area", entry["name"]))


def _division_is_unknown(acquisition: Acquisition) -> bool:
    """Return whether the spins are simulated as in a PRESS whose two echoes no file tells."""
    from mrs_necrosis.simulation.spins import known_sequence

    # what is not recognised is simulated as a PRESS
    simulated_as_press = known_sequence(acquisition.sequence) in {None, "PRESS"}
    return simulated_as_press and acquisition.echo_times_s is None


def _other_echoes(entry: dict[str, Any], acquisition: Acquisition) -> Component:
    """Return what changes of a metabolite if both echoes of its PRESS are as long."""
    name = entry["other_echoes_of"]
    half = (acquisition.echo_time_s or 0.0) / 2
    equal, assumed = (_simulated(name, acquisition, echoes) for echoes in ((half, half), None))
    weight = np.concatenate([equal.amplitude, -assumed.amplitude]) / group_protons()[name]
    return _of_lines(entry, (*equal.shift_ppm, *assumed.shift_ppm), weight)


def _missing(entry: dict[str, Any], acquisition: Acquisition) -> Component:
    """Return what goes of a metabolite's lines if those above a chemical shift are not there."""
    name = entry["missing_of"]
    lines = _simulated(name, acquisition, acquisition.echo_times_s)
    gone = lines.shift_ppm > entry["above_ppm"]
    weight = -lines.amplitude[gone] / group_protons()[name]
    return _of_lines(entry, lines.shift_ppm[gone], weight)


def _free(entry: dict[str, Any]) -> Component:
    lines = entry["lines"]
    return Component(
        name=entry["name"],
        area=entry.get("area", entry["name"]),
        shape=entry.get("shape", "metabolite"),
        shift_ppm=tuple(float(line["ppm"]) for line in lines),
        weight=tuple(complex(line.get("weight", 1.0)) for line in lines),
        gauss_ppm=tuple(float(line.get("width_ppm", 0.0)) for line in lines),
        **_amplitude_prior(entry),
    )


def _amplitude_prior(entry: dict[str, Any]) -> dict[str, Any]:
    prior: dict[str, Any] = {}
    if "prior" in entry:
        prior["prior_mean"], prior["prior_sd"] = map(float, entry["prior"])
    if "tie" in entry:
        tie = entry["tie"]
        prior |= {"tied_to": tie["to"], "tie_mean": tie["mean"], "tie_sd": tie["sd"]}
    prior["shape_sd"] = float(entry.get("shape_sd", 0.0))
    prior["under"] = entry.get("under", "")
    return prior


def _components(table: dict[str, Any], acquisition: Acquisition) -> Iterator[Component]:
    """Give the components that are visible, with what is wrong with the shape of narrow lines."""
    entries = (*table["component"], *_macromolecules(table))
    wrong = float(table["narrow_shape_sd"])
    for entry in _at_echo_time(entries, acquisition.echo_time_s):
        if "other_echoes_of" in entry:
            if not _division_is_unknown(acquisition):
                continue
            item = _other_echoes(entry, acquisition)
        elif "missing_of" in entry:
            item = _missing(entry, acquisition)
        elif "lines" in entry:
            item = _free(entry)
        else:
            item = _metabolite(entry, acquisition)
        is_broad = item.shape in table["broad_shapes"]
        yield item if is_broad else replace(item, shape_sd=wrong, alike="narrow")


def usual_macromolecules() -> Component:
    """Return macromolecules at a short echo time, each line with its prior's mean."""
    entries = _at_echo_time(_priors("metabolites")["component"], 0.0)
    parts = [_free(entry) for entry in entries if entry["name"].startswith("MM")]
    lines = [
        (ppm, weight * (part.tie_mean if part.tied_to else 1.0), width)
        for part in parts
        for ppm, weight, width in zip(part.shift_ppm, part.weight, part.gauss_ppm, strict=True)
    ]
    shift_ppm, weight, gauss_ppm = zip(*lines, strict=True)
    return Component("MM", "MM", "mm", shift_ppm, weight, gauss_ppm)


def _parameters(
    table: dict[str, Any], components: Iterable[Component], acquisition: Acquisition
) -> Iterator[Parameter]:
    """Give the nonlinear parameters that act on any of the components."""
    shapes = tuple(dict.fromkeys(item.shape for item in components))
    narrow = tuple(s for s in shapes if s not in table["broad_shapes"])
    mhz = acquisition.spectrometer_frequency_mhz
    for entry in _at_echo_time(table["parameter"], acquisition.echo_time_s):
        acts = entry["shapes"]
        acting = {"all": shapes, "narrow": narrow}[acts] if isinstance(acts, str) else tuple(acts)
        # widths and shifts may be stated in ppm, so that they follow the field
        scale = {"ppm": mhz, "ppm2": mhz**2}.get(entry["unit"], 1.0)
        sd = entry.get("sd")
        parameter = Parameter(
            entry["name"],
            entry["kind"],
            acting,
            entry["start"] * scale,
            None if sd is None else sd * scale,
            max(entry["lower"] * scale, LEAST.get(entry["kind"], -np.inf)),
            entry["upper"] * scale,
            tuple(entry.get("factors", ())),
        ).among(shapes)
        if parameter.shapes:
            yield parameter


def default_model(
    acquisition: Acquisition,
    *,
    kind: Literal["auto", "metabolites", "peaks"] = "auto",
    baseline: Baseline | None = None,
) -> Model:
    """Return the model that suits an acquisition.

    Parameters
    ----------
    acquisition : Acquisition
        Field, sequence and echo time decide what is visible and how coupled spins look.
    kind : {"auto", "metabolites", "peaks"}
        Linear combination of whole metabolites, or free peaks. ``"auto"`` takes metabolites
        where the echo time is known and peaks where it is not; ``suited_model`` asks the spectra.
    baseline : Baseline or None
        Another than the default.

    Returns
    -------
    Model
        Numbers and sources stand in ``resources/priors``.

    Raises
    ------
    ValueError
        If the nucleus is known and is not 1H, or there is no such kind.

    Examples
    --------
    >>> from mrs_necrosis.spectra import Acquisition
    >>> default_model(Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4)).name
    'peaks'
    """
    if acquisition.nucleus not in {None, "1H"}:
        msg = f"the models are for 1H; the acquisition says {acquisition.nucleus!r}"
        raise ValueError(msg)
    if kind not in {"auto", "metabolites", "peaks"}:
        msg = f"kind must be 'auto', 'metabolites' or 'peaks'; got {kind!r}"
        raise ValueError(msg)
    if kind == "auto":
        kind = "peaks" if acquisition.echo_time_s is None else "metabolites"
    table = _priors(kind)
    components = tuple(_components(table, acquisition))
    names = {item.name for item in components}
    return Model(
        name=kind,
        components=components,
        parameters=tuple(_parameters(table, components, acquisition)),
        baseline=baseline or _baseline(table, acquisition),
        range_ppm=_range_ppm(table, acquisition),
        scale=tuple(name for name in table["scale"] if name in names),
        source=table["source"],
    )


def _baseline(table: dict[str, Any], acquisition: Acquisition) -> Baseline:
    """Return the baseline without what is as narrow as lines, which are as broad at any field."""
    lower = min(1.0, acquisition.spectrometer_frequency_mhz / table["baseline_mhz"])
    finest = max(lower * max(table["baseline_dimensions"]), 8.0)
    return Baseline(tuple(d for d in table["baseline_dimensions"] if d <= finest))


def _range_ppm(table: dict[str, Any], acquisition: Acquisition) -> tuple[float, float]:
    """Return the fitted range, which leaves a gap in Hz beside the water."""
    low, high = table["range_ppm"]
    gap_ppm = table["water_gap_hz"] / acquisition.spectrometer_frequency_mhz
    return low, min(high, WATER_PPM - gap_ppm)
