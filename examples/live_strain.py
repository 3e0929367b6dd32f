"""Follow a live server: python examples/live_strain.py tcp://127.0.0.1:5556

A robot, a recorder or a viewer of your own starts like this.
"""

import sys

from usert.runtime.clients.strain_client import StrainClient

with StrainClient(sys.argv[1]) as client:
    for image in client:
        strain, quality = 100 * image.mean_strain, image.mean_quality
        print(f"frame {image.current.sequence}: mean strain {strain:+.2f} %, quality {quality:.2f}")
