"""Which workflow a record starts."""

from schemas.errors import Reason, Rejected
from schemas.routes import Route, Routes
from schemas.topics import Topics


def find_route(routes: Routes, topics: Topics, record: str, topic: str) -> Route:
    """The route of a record on this topic. Raises `Rejected(UNROUTABLE)`."""
    route = routes.find(record)
    if route is None:
        raise Rejected(Reason.UNROUTABLE, f"no route is for the record {record}: add one to the routes, or send a record that has one")
    if topics.requests(route.domain) != topic:
        raise Rejected(Reason.UNROUTABLE, f"the record {record} belongs on {topics.requests(route.domain)}, not on {topic}")
    return route
