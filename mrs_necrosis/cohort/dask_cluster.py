"""Many voxels or many acquisitions at once, on a Dask cluster.

Dask is imported here and nowhere else. A cluster of this machine listens on the loopback
interface only and shows no dashboard: its own default opens one to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mrs_necrosis.errors import MissingExtraError, MRSNecrosisError
from mrs_necrosis.processors import available_processors

_PATIENCE = "10s"
"""How long a scheduler may take to answer."""


class ClusterError(MRSNecrosisError):
    """A cluster cannot be reached."""


class DaskExecutor:
    """Hands work to the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Call the function on some worker.

        Parameters
        ----------
        function : callable
            Importable by the workers.
        *arguments
            What it is called with.

        Returns
        -------
        distributed.Future
            Its result.
        """
        # pure=False: no time is spent on hashing the samples to recognise repeated work
        return self._client.submit(function, *arguments, pure=False)


@contextmanager
def cluster(
    address: str | None = None, *, workers: int | None = None, memory_mb: int | None = None
) -> Iterator[DaskExecutor]:
    """Connect to a Dask cluster, or make one of this machine's cores.

    Parameters
    ----------
    address : str or None
        Of a scheduler, such as ``"tcp://host:8786"``; None makes a local cluster.
    workers : int or None
        Processes of a local cluster; as many as this process may use if None.
    memory_mb : int or None
        Of all processes of a local cluster together; the machine's if None.

    Yields
    ------
    DaskExecutor
        What ``analyze`` takes as `executor`. A local cluster is closed afterwards.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    ClusterError
        If there is no scheduler at that address.

    Examples
    --------
    >>> from mrs_necrosis import analyze
    >>> with cluster(workers=2) as executor:  # doctest: +SKIP
    ...     found = analyze("grid.nii.gz", executor=executor)
    """
    try:
        import distributed
    except ImportError:
        feature = "a cluster"
        raise MissingExtraError(feature, "dask") from None
    client_type: Any = distributed.Client  # it has no types
    if address is None:
        cluster_type: Any = distributed.LocalCluster
        workers = workers or available_processors()
        local = cluster_type(
            n_workers=workers,
            memory_limit="auto" if memory_mb is None else f"{memory_mb // workers}MB",
            threads_per_worker=1,
            host="127.0.0.1",
            # None would still open a port of the scheduler's pages on every interface
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=50,
        )
        with local, client_type(local) as client:
            yield DaskExecutor(client)
        return
    try:
        connected = client_type(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        msg = f"there is no Dask scheduler at the address given ({type(error).__name__})"
        raise ClusterError(msg) from None
    with connected as client:
        yield DaskExecutor(client)
