"""Shift the clock of a process with a preloaded library that overrides clock_gettime."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "CHAOS_CLOCK_SHIFT"
_SOURCE = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    const char *shift = getenv("CHAOS_CLOCK_SHIFT");
    if (result == 0 && id == CLOCK_REALTIME && shift) at->tv_sec += atol(shift);
    return result;
}
"""


@contextmanager
def shift_clock(seconds: int) -> Iterator[dict[str, str]]:
    """Yield the environment variables of a process whose clock is ahead by `seconds`."""
    compiler = shutil.which("cc")
    assert compiler, "the clock fault needs a C compiler: no cc on the PATH"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "clock.so"
        command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=_SOURCE.encode(), check=True)
        yield {"LD_PRELOAD": str(library), _VARIABLE: str(seconds), "PATH": os.environ["PATH"]}
