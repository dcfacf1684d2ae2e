"""Named points at which a test can have the process killed, to prove that nothing is lost there.

Off unless the environment names a point; then the first process to reach it creates the marker file
(so that the point fires once only) and dies by SIGKILL, alone or with its whole process group.
"""

import os
import signal

POINT_VARIABLE = "MEDFAKE_CRASH_POINT"
MARKER_VARIABLE = "MEDFAKE_CRASH_MARKER"
SCOPE_VARIABLE = "MEDFAKE_CRASH_SCOPE"


def reach(name: str) -> None:
    """Kill this process (or its group) if a test asked for it at the point ``name``."""
    if os.environ.get(POINT_VARIABLE) != name:
        return
    try:
        os.close(os.open(os.environ[MARKER_VARIABLE], os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    if os.environ.get(SCOPE_VARIABLE) == "group":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
