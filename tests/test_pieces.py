from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import mrs_necrosis
from mrs_necrosis.fitting import engine, fit, pieces
from mrs_necrosis.simulation.phantoms import phantom


@pytest.fixture(scope="module")
def spectra():
    made = phantom(
        "radiation_necrosis", np.random.default_rng(4), grid=(5, 2, 1), n_samples=512, snr=30
    ).spectra
    fid = made.fid.copy()
    fid[1, 1, 0] = np.nan
    fid[3, 0, 0] = 0
    mask = np.ones((5, 2, 1), dtype=bool)
    mask[4, 1, 0] = False
    return replace(made, fid=fid, mask=mask)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(engine, "PIECE", 4)


@pytest.fixture(scope="module")
def whole(spectra):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "PIECE", 4)
        return fit(spectra)


def assert_same_bits(one, other):
    for name in ("values", "covariance"):
        np.testing.assert_array_equal(getattr(one.areas, name), getattr(other.areas, name))
    np.testing.assert_array_equal(one.parameters, other.parameters)
    for name in one.quality.__slots__:
        np.testing.assert_array_equal(getattr(one.quality, name), getattr(other.quality, name))
    np.testing.assert_array_equal(one.curves((0, 1, 0)).fit, other.curves((0, 1, 0)).fit)


def counted(monkeypatch):
    calls = []
    solve = engine._solve

    def counting(*arguments):
        calls.append(arguments)
        return solve(*arguments)

    counting.__qualname__ = solve.__qualname__
    monkeypatch.setattr(engine, "_solve", counting)
    return calls


def test_pieces_do_not_change_a_bit(spectra, whole, monkeypatch):
    monkeypatch.setattr(engine, "PIECE", 100)

    assert_same_bits(fit(spectra), whole)


def test_workers_do_not_change_a_bit(spectra, whole):
    with ThreadPoolExecutor(2) as executor:
        assert_same_bits(fit(spectra, executor=executor), whole)


def test_interrupted_work_goes_on_where_it_stopped(spectra, whole, tmp_path, monkeypatch):
    calls = counted(monkeypatch)

    def stop(done, _):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(spectra, keep=tmp_path, progress=stop)
    before = len(calls)
    resumed = fit(spectra, keep=tmp_path)

    assert before == 2
    assert len(calls) == 3  # of three pieces, two were kept
    assert_same_bits(resumed, whole)


def test_a_damaged_piece_is_done_again(spectra, whole, tmp_path, monkeypatch):
    fit(spectra, keep=tmp_path)
    first, second, _ = sorted(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:-40])
    second.write_bytes(b"")
    calls = counted(monkeypatch)

    again = fit(spectra, keep=tmp_path)

    assert len(calls) == 2
    assert_same_bits(again, whole)


def test_pieces_of_other_data_are_never_taken(spectra, tmp_path, monkeypatch):
    fit(spectra, keep=tmp_path)
    calls = counted(monkeypatch)

    fit(replace(spectra, fid=spectra.fid * 1.5), keep=tmp_path)

    assert len(calls) == 3


def test_pieces_of_another_version_are_never_taken(spectra, tmp_path, monkeypatch):
    fit(spectra, keep=tmp_path)
    calls = counted(monkeypatch)
    monkeypatch.setattr(mrs_necrosis, "__version__", "0.0.0")

    fit(spectra, keep=tmp_path)

    assert len(calls) == 3


def test_progress_counts_the_voxels_that_are_fitted(spectra):
    seen = []

    fit(spectra, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(4, 9), (8, 9), (9, 9)]


def test_nothing_that_could_run_is_written(spectra, tmp_path):
    fit(spectra, keep=tmp_path)

    for path in tmp_path.iterdir():
        with np.load(path, allow_pickle=False) as file:
            assert all(file[name].dtype != object for name in file.files)
    assert pieces._load(tmp_path / "absent.npz") is None
