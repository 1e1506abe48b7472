"""Measurements of the collection as it lies in the checkout, which `python -m` does not find by itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))
