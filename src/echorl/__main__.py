"""`python -m echorl`, and so `accelerate launch -m echorl train ...`."""

import sys

from echorl.cli import main

if __name__ == "__main__":
    sys.exit(main())
