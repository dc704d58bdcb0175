"""The small function that is always quick: routes, the prologue, the answer index, tickets, the sweep."""

import os

# Before numpy and FAISS are loaded: a line is embedded in some 6 ms on one thread, and with more of
# them on shared cores the threads' waiting for each other costs many times that.
for _library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_library, "1")
