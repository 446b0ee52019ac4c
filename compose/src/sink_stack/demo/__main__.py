"""`python -m sink_stack.demo`: the same commands without the runner."""

import sys

from .command import main

sys.exit(main())
