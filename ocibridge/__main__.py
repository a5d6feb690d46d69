"""`python3 -m ocibridge`."""

import sys

from ocibridge.cli import main

sys.exit(main())
