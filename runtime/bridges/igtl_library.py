"""The library that packs and reads OpenIGTLink messages: whether it is installed, and fast.

`crcmod`, which computes the checksum of each message, silently installs as pure Python where there is no C compiler,
with about 4 MB a second instead of 300.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec

from usert.errors import require

log = logging.getLogger(__name__)


def require_pyigtl() -> None:
    """Check that pyigtl is installed, and warn where its checksums are slow. Errors: `MissingExtraError`."""
    require("pyigtl", "igtl")
    if find_spec("crcmod._crcfunext") is None:
        log.warning(
            "crcmod was installed without a C compiler, and its checksums allow a few small images a second: install "
            "one, then pip install --force-reinstall --no-cache-dir --no-binary :all: crcmod"
        )
