"""`python -m restms_node` and the command `restms` are the same."""

import sys

from restms_node.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
