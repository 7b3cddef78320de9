"""Where the zygote begins: ``python -I -S zygote_boot.py ASKED_FD CHANNEL_FD FOLDER...``.

A script's own code is compiled anew at each start, so there is next to nothing here.
"""

import sys

sys.path.extend(sys.argv[3:])

from runengine.monitor.zygote import main

main(int(sys.argv[1]), int(sys.argv[2]))
