from ...support.console_process import console  # noqa: F401
