"""Names of topics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names under an optional prefix, which is put in front as it is."""

    prefix: str = ""

    def requests(self, domain: str) -> str:
        return f"{self.prefix}{domain}.requests"

    def completions(self, domain: str) -> str:
        return f"{self.prefix}{domain}.completions"

    def dead_letters(self, request_topic: str) -> str:
        """The dead-letter topic of a request topic; the prefix is already in that topic's name."""
        return f"{request_topic}.dlq"

    @property
    def commands(self) -> str:
        """Pause, resume, cancel: signals to runs that requests have started."""
        return f"{self.prefix}workflow.commands"

    @property
    def history(self) -> str:
        return f"{self.prefix}history"
