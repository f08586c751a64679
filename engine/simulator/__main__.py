"""`python -m engine.simulator`: the same as `groundswell simulate`."""

import sys

from engine.simulator.command import main

sys.exit(main())
