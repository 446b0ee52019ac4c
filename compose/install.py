"""Run by make with the system's Python: fills .venv, and fetches the programs of the stack."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))

from sink_stack.bootstrap import main

sys.exit(main())
