"""Where the zygote begins: ``python -I -S zygote_boot.py FD FD DIRECTORY FOLDER...``.

A script's own code is compiled anew at each start, so there is next to nothing here.
"""

import sys

sys.path.extend(sys.argv[4:])

from runengine.monitor.zygote import main

main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
