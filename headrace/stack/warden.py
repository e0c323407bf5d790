"""The warden: leads the process group of all parts and ends the whole group when its supervisor is gone, however it went.

Its standard input is a pipe whose other end only the supervisor holds, so end-of-file means that the supervisor has died (also by
kill -9, when it can clean up nothing itself). It imports next to nothing: it lives as long as the stack does.
"""

import os
import signal


def main() -> None:
    """Wait for the end of standard input, then kill the group, this process with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
