"""What the maintenance activities take and give. New fields get defaults: runs in flight hold the old ones."""

from datetime import date

from schemas.request import Model


class Cleaned(Model):
    count: int = 0
    bytes_freed: int = 0


class ArchiveOrder(Model):
    days_old: int
    today: date
    """The run's own day, UTC: a retry after midnight archives the same days."""


class Archived(Model):
    count: int = 0
    """Rows."""
    archives: int = 0
    size_bytes: int = 0
    keys: tuple[str, ...] = ()
    """The first 200."""


class Analysed(Model):
    success: bool = False
    days_recomputed: int = 0
    days_left_out: tuple[date, ...] = ()
