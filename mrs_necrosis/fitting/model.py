"""The model as data: components, nonlinear parameters, priors and baseline.

A model of one voxel's FID is

``exp(1j phase) * sum_k a_k b_k(t + begin) exp(2j pi shift_k t - pi lorentz_k t - c gauss2_k t^2)``

plus a smooth complex baseline in the frequency domain, with ``c = pi^2 / (4 ln 2)`` so that
``lorentz`` and ``sqrt(gauss2)`` are full widths at half maximum in Hz. Each *component* k has one
real amplitude ``a_k`` and a fixed FID ``b_k``: a few free lines, or a whole metabolite whose lines
were simulated at the acquisition's field, sequence and echo time, or a measured one. Components
that share a *class* share one modulation. Each nonlinear parameter acts on some of the classes;
its prior is normal, and it lives in a box.

Amplitudes are areas: of the group that names the component, at the echo time, protons included.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

GAUSS_RATE = np.pi**2 / (4 * np.log(2))
"""``exp(-GAUSS_RATE w^2 t^2)`` has a spectrum of full width w at half maximum."""

_INNER = 32

Kind = Literal["phase", "begin", "shift", "lorentz", "gauss2"]


@dataclass(frozen=True, slots=True)
class Component:
    """One amplitude of the model and the lines it scales.

    Parameters
    ----------
    name : str
        Distinct within a model.
    area : str
        Area that the amplitude counts towards (``"NAA"`` for NAA and NAAG); empty for none.
    shape : str
        Class of components that share one modulation.
    shift_ppm : tuple of float
        Chemical shifts of the lines, shape (L,).
    weight : tuple of complex
        Their amplitudes for one unit of area, shape (L,).
    gauss_ppm : tuple of float
        Their own Gaussian full widths at half maximum, shape (L,).
    prior_mean, prior_sd : float or None
        Normal prior of the amplitude relative to the scale of the voxel (the summed areas of
        the model's ``scale`` components); None is flat.
    tied_to : str
        Component to which the amplitude is tied softly; empty for none.
    tie_mean, tie_sd : float
        Normal prior of the amplitude relative to that component's.
    shape_sd : float
        Relative error of the amplitude because the real line's shape is not the model's. It is
        common to all components that have one and the same ``under`` and ``alike``.
    under : str
        Component on whose line this one lies: what is wrong with the shape that one takes, with
        the other sign; empty for none.
    alike : str
        Names the components whose lines have the same wrong shape; ratios of their areas are as
        good as if it were right.
    fid : ndarray of complex128, shape (N,), or None
        Sampled FID at the model's dwell time, instead of lines.
    """

    name: str
    area: str
    shape: str
    shift_ppm: tuple[float, ...] = ()
    weight: tuple[complex, ...] = ()
    gauss_ppm: tuple[float, ...] = ()
    prior_mean: float | None = None
    prior_sd: float | None = None
    tied_to: str = ""
    tie_mean: float = 0.0
    tie_sd: float = 0.0
    shape_sd: float = 0.0
    under: str = ""
    alike: str = ""
    fid: NDArray[np.complex128] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.fid is None and not (
            len(self.shift_ppm) == len(self.weight) == len(self.gauss_ppm) > 0
        ):
            msg = f"component {self.name!r} needs lines: one shift, weight and width for each"
            raise ValueError(msg)
        if (self.prior_sd is not None and self.prior_sd <= 0) or (
            self.tied_to and self.tie_sd <= 0
        ):
            msg = f"component {self.name!r}: a prior's sd must be positive"
            raise ValueError(msg)

    def samples(
        self, time_s: NDArray[np.float64], frequency_mhz: float, reference_ppm: float
    ) -> NDArray[np.complex128]:
        """Return the FID ``b_k`` of one unit of area at evenly spaced times from 0, shape (N,)."""
        if self.fid is not None:
            n = min(time_s.size, self.fid.size)
            padded = np.zeros(time_s.size, dtype=np.complex128)
            padded[:n] = self.fid[:n]
            return padded
        hz = (np.array(self.shift_ppm) - reference_ppm) * frequency_mhz
        width2 = (np.array(self.gauss_ppm) * frequency_mhz) ** 2
        weight = np.array(self.weight)
        # coupled spins have thousands of lines, on an even time axis: two short tables make them
        sharp = width2 == 0
        coarse = np.exp(2j * np.pi * hz[sharp, None] * time_s[::_INNER])
        fine = np.exp(2j * np.pi * hz[sharp, None] * time_s[:_INNER])
        summed: NDArray[np.complex128]
        summed = ((coarse.T * weight[sharp]) @ fine).ravel()[: time_s.size]
        exponent = 2j * np.pi * hz[~sharp, None] * time_s
        exponent -= GAUSS_RATE * width2[~sharp, None] * time_s**2
        summed = summed + weight[~sharp] @ np.exp(exponent)
        return summed


@dataclass(frozen=True, slots=True)
class Parameter:
    """One nonlinear parameter.

    Parameters
    ----------
    name : str
        With its unit: ``"shift_hz"``, ``"Cho:shift_hz"``.
    kind : {"phase", "begin", "shift", "lorentz", "gauss2"}
        What it does; phase and begin act on everything.
    shapes : tuple of str
        Classes on which it acts; effects of several parameters add up.
    start : float
        Where the search starts, and the prior's mean.
    sd : float or None
        Of its normal prior; None is flat.
    lower, upper : float
        Its box.
    factors : tuple of float
        By how much it acts on each of the classes; 1 if empty.
    """

    name: str
    kind: Kind
    shapes: tuple[str, ...]
    start: float
    sd: float | None
    lower: float
    upper: float
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.factors and len(self.factors) != len(self.shapes):
            msg = f"parameter {self.name!r}: need as many factors as shapes, or none"
            raise ValueError(msg)
        if not self.lower <= self.start <= self.upper or (self.sd is not None and self.sd <= 0):
            msg = f"parameter {self.name!r}: need lower <= start <= upper and a positive sd"
            raise ValueError(msg)

    @property
    def by_shape(self) -> tuple[float, ...]:
        """By how much it acts on each of its classes."""
        return self.factors or (1.0,) * len(self.shapes)

    def among(self, shapes: Collection[str]) -> Parameter:
        """Return the parameter as it acts on those classes alone."""
        acting = [
            (shape, factor)
            for shape, factor in zip(self.shapes, self.by_shape, strict=True)
            if shape in shapes
        ]
        return replace(
            self,
            shapes=tuple(shape for shape, _ in acting),
            factors=tuple(factor for _, factor in acting) if self.factors else (),
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """A smooth complex curve with a penalty on its second derivative.

    Parameters
    ----------
    dimensions : tuple of float
        Candidate effective dimensions over the fitted range; each voxel weighs them by their
        evidence. One number fixes the stiffness; an empty tuple is no baseline.
    """

    dimensions: tuple[float, ...] = (3.0, 5.0, 8.0, 12.0, 17.0, 24.0, 33.0)

    def __post_init__(self) -> None:
        if any(d <= 2 for d in self.dimensions):
            msg = f"a baseline has more than 2 dimensions, a straight line; got {self.dimensions}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that is assumed about a spectrum before it is seen.

    Parameters
    ----------
    name : str
        ``"metabolites"``, ``"peaks"`` or a user's own.
    components : tuple of Component
        K components.
    parameters : tuple of Parameter
        P nonlinear parameters.
    baseline : Baseline
        What is smooth.
    range_ppm : tuple of float
        Fitted range.
    scale : tuple of str
        Components whose summed areas are the unit of the amplitudes' priors.
    source : str
        Where the lines come from, for the report.
    assumed : tuple of str
        Sentences on what was taken for granted because nobody told it; a ``Fit`` notes them.
    """

    name: str
    components: tuple[Component, ...]
    parameters: tuple[Parameter, ...]
    baseline: Baseline = field(default_factory=Baseline)
    range_ppm: tuple[float, float] = (0.2, 4.2)
    scale: tuple[str, ...] = ()
    source: str = ""
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind, items in (("component", self.components), ("parameter", self.parameters)):
            names = [item.name for item in items]
            if len(set(names)) != len(names) or not names:
                msg = f"{kind} names must be distinct and not empty; got {names}"
                raise ValueError(msg)
        shapes = set(self.shapes)
        for parameter in self.parameters:
            unknown = set(parameter.shapes) - shapes
            if unknown:
                msg = f"parameter {parameter.name!r} acts on unknown classes {sorted(unknown)}"
                raise ValueError(msg)
        names_set = {item.name for item in self.components}
        for item in self.components:
            for other in (item.tied_to, item.under):
                if other and other not in names_set:
                    msg = f"component {item.name!r} is tied to {other!r}, which is not there"
                    raise ValueError(msg)
        if not self.range_ppm[0] < self.range_ppm[1]:
            msg = f"range_ppm must ascend; got {self.range_ppm}"
            raise ValueError(msg)

    def __repr__(self) -> str:
        return (
            f"<Model {self.name}: {len(self.components)} components, "
            f"{len(self.parameters)} parameters>"
        )

    @property
    def shapes(self) -> tuple[str, ...]:
        """Classes of components, in order of appearance."""
        return tuple(dict.fromkeys(item.shape for item in self.components))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(item.name for item in self.components)

    def without(self, *names: str) -> Model:
        """Return the model without some components, their parts and what acts on them alone.

        A part has no area of its own and is tied to a component, as ``LacCH`` to ``Lac``.

        Raises
        ------
        KeyError
            If a name is not among the components.
        """
        unknown = set(names) - set(self.names)
        if unknown:
            msg = f"no component {sorted(unknown)}; there are {', '.join(self.names)}"
            raise KeyError(msg)
        gone = {*names, *(c.name for c in self.components if not c.area and c.tied_to in names)}
        kept = tuple(item for item in self.components if item.name not in gone)
        kept = tuple(replace(c, tied_to="") if c.tied_to in gone else c for c in kept)
        kept = tuple(replace(c, under="") if c.under in gone else c for c in kept)
        return self._with_components(kept)

    def with_components(self, *components: Component) -> Model:
        """Return the model with more components, or with others of the same name."""
        new = {item.name: item for item in components}
        kept = tuple(new.pop(item.name, item) for item in self.components)
        return self._with_components((*kept, *new.values()))

    def with_parameter(self, parameter: Parameter) -> Model:
        """Return the model with one more nonlinear parameter, or another of the same name."""
        kept = tuple(p for p in self.parameters if p.name != parameter.name)
        return replace(self, parameters=(*kept, parameter))

    def _with_components(self, components: tuple[Component, ...]) -> Model:
        shapes = {item.shape for item in components}
        parameters = []
        for parameter in self.parameters:
            acting = parameter.among(shapes)
            if acting.shapes or acting.kind in {"phase", "begin"}:
                parameters.append(acting)
        names = {item.name for item in components}
        return replace(
            self,
            components=components,
            parameters=tuple(parameters),
            scale=tuple(name for name in self.scale if name in names),
        )


def areas_of(model: Model) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names of the areas and the matrix that makes them from amplitudes.

    Parameters
    ----------
    model : Model
        With K components.

    Returns
    -------
    names : tuple of str
        A areas, in order of appearance.
    matrix : ndarray of float64, shape (A, K)
        Ones where a component counts towards an area.
    """
    names = tuple(dict.fromkeys(item.area for item in model.components if item.area))
    matrix = np.zeros((len(names), len(model.components)))
    for k, item in enumerate(model.components):
        if item.area:
            matrix[names.index(item.area), k] = 1.0
    return names, matrix


def misshapen(model: Model) -> NDArray[np.float64]:
    """Return what each amplitude makes of the errors of the lines' shapes.

    Parameters
    ----------
    model : Model
        With K components.

    Returns
    -------
    ndarray of float64, shape (R, K, K)
        R independent errors: one of each kind of lines that are alike, one for each component
        that others lie under. ``amplitudes @ matrix[r]`` is one standard deviation of the r-th.
    """
    names = model.names
    groups = [(item.under, item.alike) if item.shape_sd else None for item in model.components]
    errors = tuple(dict.fromkeys(filter(None, groups)))
    matrix = np.zeros((len(errors), len(names), len(names)))
    for k, (item, group) in enumerate(zip(model.components, groups, strict=True)):
        if group:
            row = matrix[errors.index(group), k]
            row[k] = item.shape_sd
            if item.under:
                row[names.index(item.under)] = -item.shape_sd
    return matrix


def check_parameters(parameters: Sequence[Parameter]) -> None:
    """Raise ValueError unless there is exactly one phase and one begin time at most."""
    for kind in ("phase", "begin"):
        if sum(p.kind == kind for p in parameters) > 1:
            msg = f"a model has at most one {kind}"
            raise ValueError(msg)
