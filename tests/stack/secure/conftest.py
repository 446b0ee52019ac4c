"""A secure stack for this folder alone, in place of the session's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_stack import testing_stack
from sink_stack.stack import Options, Stack
from sink_stack.testing_stack import StackUnderTest

from .secured import Doors, SecureStack, SecureSupervisor


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUnderTest]:
    with testing_stack.running(Secured(tmp_path_factory.mktemp("doors"))) as found:
        yield found


class Secured:
    """Makes the secure stack, whose files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *, stack: Stack, options: Options) -> SecureStack:
        doors = Doors.make(self._folder)
        _, key = doors.authority.issue("client")
        key.chmod(0o600)  # libpq asks for it
        stack.supervisor = SecureSupervisor(stack, doors)
        return SecureStack(stack=stack, options=options, doors=doors)
