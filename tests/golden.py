"""The golden numbers: worked by hand or by a slow twin from the papers, in float64."""

import json
from pathlib import Path
from typing import Any

NUMBERS: dict[str, Any] = json.loads((Path(__file__).parent / "golden.json").read_text())
