"""Say a step's error once more when the launcher has ended, so that it is the last thing seen.

`accelerate launch` and torchrun end with a traceback of their own when a process fails, below the
one line that says why. No option of theirs and no exit code but 0 prevents it (accelerate has
--quiet for one process, which `hfllm run` sets). So a small process waits until the launcher is
gone and prints the line again.
"""

from __future__ import annotations

import os
import subprocess
import sys

from hfllm.recipe.launch_line import options
from hfllm.recipe.launcher import launcher_words

LAUNCHERS = ("accelerate", "torchrun", "torch.distributed")
WAIT_S = 90  # torchrun gives the other processes 30 s to end
REPEAT = """
import sys, time, psutil
try:
    launcher = psutil.Process(int(sys.argv[1]))
    for _ in range(int(sys.argv[2]) * 50):
        if not launcher.is_running() or launcher.status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.02)
except psutil.Error:
    pass
sys.stderr.write(sys.argv[3])
"""


def repeat_after_launcher(text: str) -> None:
    """Print `text` on stderr when the launcher that started this process has ended."""
    words = launcher_words(LAUNCHERS)
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    if not words or (alone and "quiet" in options(words)):
        return
    subprocess.Popen(
        [sys.executable, "-c", REPEAT, str(os.getppid()), str(WAIT_S), text],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # the launcher ends the processes of its own group
    )
