"""Where a monitor process begins: ``python -I -S boot.py CONTROL_FD FOLDER...``.

A script's own code is compiled anew at each start, so there is next to nothing here.
"""

import sys

sys.path.extend(sys.argv[2:])

from runengine.monitor.main import main

main(int(sys.argv[1]))
