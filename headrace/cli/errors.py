"""How a command ends. The exit codes are a contract."""

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4


class CommandError(Exception):
    """Ends the command with this code and sentence."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code
