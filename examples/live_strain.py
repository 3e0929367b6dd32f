"""Follow a live server: python examples/live_strain.py tcp://127.0.0.1:5556

A robot, a recorder or a viewer of your own starts like this.
"""

import sys

from usert.runtime.client import StrainClient

with StrainClient(sys.argv[1]) as client:
    for image in client:
        print(
            f"frame {image.current.sequence}: mean strain {100 * image.mean_strain:+.2f} %, quality {image.mean_quality:.2f}"
        )
