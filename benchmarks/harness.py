"""The tests' harness for benchmarks of the live server: `import harness` makes `tests/runtime/support` importable."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "runtime" / "support"))
