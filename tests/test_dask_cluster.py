import logging
import os
import sys
import warnings

import numpy as np
import pytest

from mrs_necrosis.cohort import ClusterError, cluster
from mrs_necrosis.errors import MissingExtraError
from mrs_necrosis.fitting import engine, fit
from mrs_necrosis.simulation.phantoms import phantom

pytest.importorskip("distributed", reason="needs the extra [dask]")
psutil = pytest.importorskip("psutil", reason="comes with the extra [dask]")


@pytest.fixture(autouse=True)
def quiet_logs():
    """What a cluster says while it closes is none of the test's business."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_cluster_gives_the_same_bits_and_stays_on_this_machine(monkeypatch):
    monkeypatch.setattr(engine, "PIECE", 3)
    spectra = phantom(
        "radiation_necrosis", np.random.default_rng(4), grid=(6, 1, 1), n_samples=512
    ).spectra
    here = fit(spectra)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cluster's own, about the machine it finds
        with cluster(workers=2) as executor:
            address = executor._client.scheduler.address
            me = psutil.Process()
            ports = [
                port.laddr.ip
                for process in (me, *me.children(recursive=True))
                for port in process.net_connections(kind="inet")
                if port.status == psutil.CONN_LISTEN
            ]
            there = fit(spectra, executor=executor)

    np.testing.assert_array_equal(here.areas.values, there.areas.values)
    np.testing.assert_array_equal(here.areas.covariance, there.areas.covariance)
    assert "127.0.0.1" in address
    assert ports
    assert set(ports) == {"127.0.0.1"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process has all processors")
def test_a_local_cluster_has_a_worker_per_processor_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})

    with cluster() as executor:
        workers = executor._client.scheduler_info()["workers"]

    assert len(workers) == 1


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(MissingExtraError, match=r"mrs-necrosis\[dask\]"), cluster():
        pass


def test_an_address_without_a_scheduler_is_refused(monkeypatch):
    monkeypatch.setattr("mrs_necrosis.cohort.dask_cluster._PATIENCE", "1s")

    with pytest.raises(ClusterError, match="no Dask scheduler"), cluster("tcp://127.0.0.1:1"):
        pass
