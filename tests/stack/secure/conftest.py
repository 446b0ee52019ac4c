"""A stack with TLS and logins for the tests of this folder, in place of the session's stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_stack import testing_stack
from sink_stack.stack import Options, Stack
from sink_stack.testing_stack import StackUnderTest

from .secure_stack import SecureListeners, SecureStack, SecureSupervisor


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUnderTest]:
    with testing_stack.running(SecureStackFactory(tmp_path_factory.mktemp("secure"))) as found:
        yield found


class SecureStackFactory:
    """Creates the secure stack with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *, stack: Stack, options: Options) -> SecureStack:
        listeners = SecureListeners.make(self._folder)
        _, key = listeners.authority.issue("client")
        key.chmod(0o600)  # libpq refuses a key that others can read
        stack.supervisor = SecureSupervisor(stack, listeners)
        return SecureStack(stack=stack, options=options, listeners=listeners)
