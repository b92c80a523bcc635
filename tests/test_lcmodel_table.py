"""LCModel's results: numbers as printed."""

import numpy as np
import pytest

from mrs_necrosis.errors import FormatError
from mrs_necrosis.io import read_lcmodel_table


def test_an_lcmodel_csv_has_a_row_for_each_voxel(shared_data):
    table = read_lcmodel_table(
        shared_data / "mrsi/lcmodel_multivoxel_10/test-reference-multi-voxel.csv"
    )

    assert table.values.shape == (10, len(table.names))
    assert {"NAA", "Cr", "GPC+PCh", "NAA+NAAG"} <= set(table.names)
    # the first line as printed
    assert table.values[0, :3] == pytest.approx([0.369, 0.0, 0.456])
    assert table.relative_sd[0, :3] == pytest.approx([0.03, 9.99, 0.03])


def test_an_lcmodel_coord_has_its_table_and_its_curves(shared_data):
    table = read_lcmodel_table(
        shared_data / "lcmodel_coord/biggaba_3T_press35/GE_G1_P_S01_S01_PRESS_35_LCM_A.coord"
    )

    assert table.values.shape == (1, 31)
    assert table.values[0, table.names.index("Cr")] == 3.577
    assert table.relative_sd[0, table.names.index("Cr")] == pytest.approx(0.17)
    assert table.ppm.shape == table.data.shape == table.fit.shape == table.baseline.shape == (734,)
    assert table.ppm[0] == 4.0
    # the fit is good: most of the data's variance about the baseline is explained
    signal = np.var(table.data - table.baseline)
    assert np.var(table.data - table.fit) < 0.02 * signal


def test_every_lcmodel_result_is_read(shared_data):
    paths = [
        path
        for path in sorted((shared_data / "lcmodel_coord").rglob("*"))
        if path.suffix.lower() in {".coord", ".table"}
    ]

    tables = [read_lcmodel_table(path) for path in paths]

    assert len(tables) == 12
    for path, table in zip(paths, tables, strict=True):
        assert np.isfinite(table.values).all(), path
        assert (table.ppm is not None) == (path.suffix.lower() == ".coord"), path


def test_what_is_no_result_is_refused(shared_data, tmp_path):
    with pytest.raises(FormatError, match="is no result of LCModel"):
        read_lcmodel_table(shared_data / "tarquin_dpt/phantom_3T/svs_30_w.dpt")
    content = (
        shared_data / "lcmodel_coord/oryx_mrsi_3T_press52/K_01_sl2_6-6.table"
    ).read_text("latin-1")  # fmt: skip
    path = tmp_path / "cut.table"
    path.write_text(content[:900], "latin-1")
    with pytest.raises(FormatError, match="is truncated or damaged: its table"):
        read_lcmodel_table(path)
