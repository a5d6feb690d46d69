"""`python3 -m ocibridge`."""

import sys

from ocibridge.entry import main

sys.exit(main())
