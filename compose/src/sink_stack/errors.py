"""The errors of the stack."""


class StackError(Exception):
    """The stack cannot do what was requested; the text says what to do next."""


class PortTakenError(StackError):
    """A port that the user fixed belongs to another process."""


class PartDiedError(StackError):
    """A part ended or did not become ready in time."""
