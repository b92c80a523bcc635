"""A voxel's fit as an lmfit problem, and an lmfit result as a ``Fit``.

For the researcher who wants a constraint that the model language has not: take the voxel's
objective, change lmfit's ``Parameters`` (fix, bound, tie with an expression), minimise with any
of lmfit's methods, and go on with the ``Fit``. The objective is that of ``fit``, with the same
priors and the same stiffness of the baseline; it is slower by some hundred times.

Parameters are called ``area_NAA`` (an area, in the unit of the FID) and by the nonlinear
parameter's own name, with every sign that is not a letter or digit turned into ``_``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.fitting.assembly import VoxelArrays, of_areas, parts_of, result_of
from mrs_necrosis.fitting.inspection import tallest
from mrs_necrosis.fitting.model import Model
from mrs_necrosis.fitting.optimum import noise_in_fit, residual_ratio
from mrs_necrosis.fitting.residuals import voxel_objective
from mrs_necrosis.fitting.solver import NumpySolver
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    import lmfit
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.residuals import VoxelObjective
    from mrs_necrosis.fitting.result import Fit


@dataclass(frozen=True, slots=True, eq=False)
class LmfitProblem:
    """One voxel's objective in lmfit's terms.

    Parameters
    ----------
    objective : VoxelObjective
        What is minimised.
    names : tuple of str
        Names of lmfit's parameters, shape (K + P,).

    Examples
    --------
    >>> problem = lmfit_problem(spectra)                              # doctest: +SKIP
    >>> parameters = problem.parameters()                             # doctest: +SKIP
    >>> parameters["area_PCr"].expr = "0.7 * area_Cr"                 # doctest: +SKIP
    >>> fit = problem.as_fit(problem.minimize(parameters))            # doctest: +SKIP
    """

    objective: VoxelObjective
    names: tuple[str, ...]

    def parameters(self, *, at_optimum: bool = False) -> lmfit.Parameters:
        """Return fresh lmfit parameters at the start of the search, or at the fit's optimum."""
        import lmfit

        objective = self.objective
        x = objective.optimum if at_optimum else objective.start
        made = lmfit.Parameters()
        scaled = zip(self.names, x * self._unit, objective.lower, objective.upper, strict=True)
        for name, value, low, high in scaled:
            made.add(name, value=float(value), min=float(low), max=float(high))
        return made

    def residual(self, parameters: lmfit.Parameters) -> NDArray[np.float64]:
        """Return the rows whose squares add up to the objective."""
        return self.objective.rows(self._variables(parameters))

    def minimize(self, parameters: lmfit.Parameters | None = None, **options: Any) -> Any:
        """Minimize with ``lmfit.minimize``.

        Parameters
        ----------
        parameters : lmfit.Parameters or None
            ``parameters()`` by default.
        **options
            For ``lmfit.minimize``, such as ``method="least_squares"``.

        Returns
        -------
        lmfit.minimizer.MinimizerResult
            Its covariance is not rescaled: the rows are in units of their errors.
        """
        import lmfit

        chosen = self.parameters() if parameters is None else parameters
        return lmfit.minimize(self.residual, chosen, **{"scale_covar": False, **options})

    def as_fit(self, result: Any) -> Fit:
        """Return an lmfit result as a ``Fit`` of the one voxel.

        Parameters
        ----------
        result : lmfit.minimizer.MinimizerResult
            Of ``minimize``, or of lmfit with ``scale_covar=False``.

        Returns
        -------
        Fit
            Its covariance is lmfit's, with what expressions imply, for the one stiffness of
            the baseline; NaN if lmfit gave none.
        """
        objective, problem = self.objective, self.objective.problem
        k = len(problem.model.components)
        x = self._variables(result.params)
        out = VoxelArrays.empty(1, problem)
        theta, amplitudes = x[None, k:], x[None, :k]
        phased, columns, baseline = parts_of(
            problem, objective.data[None], theta, amplitudes, objective.shrink[None]
        )
        left = phased - columns.sum(axis=1) - baseline
        ratio = residual_ratio(left)
        out.amplitudes[0] = x[:k] * objective.unit
        out.theta[0] = x[k:]
        out.taken[0] = objective.shrink
        out.tallest[0] = tallest(NumpySolver(problem), theta, amplitudes)[0]
        out.tallest[0] *= objective.unit
        out.residual[0] = ratio[0]
        covariance = getattr(result, "covar", None)
        if covariance is not None:
            slope = self._slopes(result)
            widen = max(float(ratio[0]), 1.0) ** 2
            out.covariance[:] = of_areas(problem, (slope @ covariance @ slope.T * widen)[None])
        out.status[0] = FitStatus.OK if result.success else FitStatus.NOT_CONVERGED
        out.sd = noise_in_fit(objective.spectra, problem)
        return result_of(objective.spectra, problem, out, backend="lmfit")

    @property
    def _unit(self) -> NDArray[np.float64]:
        k = len(self.objective.problem.model.components)
        return np.where(np.arange(len(self.names)) < k, self.objective.unit, 1.0)

    def _variables(self, parameters: lmfit.Parameters) -> NDArray[np.float64]:
        x: NDArray[np.float64] = np.array([parameters[name].value for name in self.names])
        return x / self._unit

    def _slopes(self, result: Any) -> NDArray[np.float64]:
        """Return the derivatives of the areas by lmfit's varying parameters, shape (K, F)."""
        k = len(self.objective.problem.model.components)
        names = self.names[:k]
        slopes = np.empty((k, len(result.var_names)))
        for i, name in enumerate(result.var_names):
            moved = result.params.copy()
            step = 1e-4 * max(abs(moved[name].value), self.objective.unit)
            sides = []
            for sign in (1.0, -1.0):
                moved[name].set(value=result.params[name].value + sign * step)
                moved.update_constraints()
                sides.append(np.array([moved[n].value for n in names]))
            slopes[:, i] = (sides[0] - sides[1]) / (2 * step)
        return slopes


def lmfit_problem(
    spectra: Spectra, model: Model | None = None, voxel: tuple[int, int, int] = (0, 0, 0)
) -> LmfitProblem:
    """Return one voxel's objective as an lmfit problem.

    Parameters
    ----------
    spectra, model
        As in ``fit``.
    voxel : tuple of int
        Index along X, Y, Z.

    Returns
    -------
    LmfitProblem
        Parameters, residual, and the way back to a ``Fit``.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> made = phantom("normal_white_matter", np.random.default_rng(1))
    >>> problem = lmfit_problem(made.spectra)
    >>> parameters = problem.parameters()
    >>> "area_Cr" in parameters
    True
    """
    objective = voxel_objective(spectra, model, voxel)
    components = objective.problem.model.names
    names = [f"area_{name}" for name in components]
    names += [p.name for p in objective.problem.model.parameters]
    return LmfitProblem(objective, tuple(re.sub(r"[^0-9A-Za-z]", "_", name) for name in names))
