"""Where a resolver process begins: ``python -I -S boot.py DIRECTORY FOLDER...``.

A script's own code is compiled anew at each start, so there is next to nothing here.
"""

import sys

sys.path.extend(sys.argv[2:])

from runengine.resolver.process import leave_out_metadata, main

leave_out_metadata()
main(sys.argv[1])
