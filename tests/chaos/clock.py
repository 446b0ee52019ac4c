"""A process whose clock is wrong: a library that is loaded before all others shifts the time."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHIFT = "CHAOS_CLOCK_SHIFT"
_SOURCE = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    int told = syscall(SYS_clock_gettime, id, at);
    const char *shift = getenv("CHAOS_CLOCK_SHIFT");
    if (told == 0 && id == CLOCK_REALTIME && shift) at->tv_sec += atol(shift);
    return told;
}
"""


@contextmanager
def shifted(seconds: int) -> Iterator[dict[str, str]]:
    """The environment of a process that is so far ahead, or behind."""
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed to make a clock go wrong"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "clock.so"
        command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=_SOURCE.encode(), check=True)
        yield {"LD_PRELOAD": str(library), _SHIFT: str(seconds), "PATH": os.environ["PATH"]}
