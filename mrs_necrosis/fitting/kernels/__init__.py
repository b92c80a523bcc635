"""The kernels of the compiled solver: one voxel's search, and its average over the baseline.

From below: ``lanes`` (eight numbers at once, and their transform), ``algebra`` (products and
factors of matrices of eights), ``plan`` (a problem as flat arrays), ``columns`` (components in
the band), ``objective`` (its value and slope), ``search`` and ``averaging``, whose functions named
``…_range`` are all that is called from elsewhere. Names and algebra are those of ``varpro`` and
``posterior``. Nothing here raises: a voxel that fails is NaN.

The compiler keeps what it made of a file until that file changes, with what it took in from
others. So each has a digest of all (``DIGEST``); a test says what it must be.
"""
