"""What would become of a request: `python -m ingress.rehearse RECORD [--json FILE|-] [--key K]`, which is `headrace route test`.

Nothing is sent and nobody is asked, so it tells neither of a duplicate nor of a conflict.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from aiokafka import ConsumerRecord

from headrace.cli.errors import CommandError, Exit
from headrace.cli.produce import fields_of, open_lines, route_called
from headrace.lifecycle import leave
from headrace.settings import Settings, SettingsError, load
from headrace.wire import Wire
from ingress.decode import Decoder, Event
from ingress.start import Sizes, check_size, fairness_key
from schemas import codec
from schemas.errors import Rejected
from schemas.from_json import from_json
from schemas.ids import workflow_id
from schemas.request import Accepted, Origin
from schemas.routes import Route, RouteError, Routes, load_routes
from schemas.topics import Topics


class Rehearsal:
    """The ingress's own decoder, in front of nothing."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self._topics = Topics(settings.topic_prefix)
        self._sizes = Sizes.of(settings)
        self._decoder = Decoder(Wire(routes.catalog()), routes, self._topics)

    def of_route(self, route: Route) -> dict[str, Any]:
        """Where its requests go."""
        return {
            "record": route.record,
            "topic": self._topics.requests(route.domain),
            "workflow": route.workflow,
            "task_queue": route.task_queue,
            "priority": route.priority,
            "order": route.order,
        }

    def of_request(self, route: Route, fields: dict[str, Any], key: str | None) -> dict[str, Any]:
        """The same for one request: what it would become. Raises `ValueError` for fields that its Avro schema cannot hold."""
        value = codec.frame_single_object(route.schema, codec.encode_body(route.schema, from_json(route.schema, fields)))
        record = _record(self._topics.requests(route.domain), str(fields.get("user_id")) if key is None else key, value)
        answer = {**self.of_route(route), "event_id": fields["event_id"], "key": record.key.decode()}
        try:
            found = self._decoder.decode_at_once(record)
            assert isinstance(found, Event)  # noqa: S101 - this route's record in a frame of our own
            request = found.request
            origin = Origin(topic=record.topic, partition=0, offset=0, key=record.key)
            check_size(Accepted[Any](request=request, origin=origin), self._sizes)
        except Rejected as rejected:
            return {**answer, "disposition": "dead_lettered", "reason": rejected.reason, "message": rejected.message}
        identity = workflow_id(route.domain, request.event_id)
        return {**answer, "disposition": "started", "workflow_id": identity, "fairness_key": fairness_key(request.user_id)}


def _record(topic: str, key: str, value: bytes) -> ConsumerRecord:
    return ConsumerRecord(
        topic=topic,
        partition=0,
        offset=0,
        timestamp=0,
        timestamp_type=0,
        key=key.encode(),
        value=value,
        checksum=None,
        serialized_key_size=len(key),
        serialized_value_size=len(value),
        headers=(),
    )


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 when one would be dead-lettered or the routes cannot be used, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="headrace route test")
    parser.add_argument("record")
    parser.add_argument("--json", metavar="FILE|-")
    parser.add_argument("--key")
    given = parser.parse_args(arguments)
    try:
        settings = load()
        routes = load_routes(settings.routes_file)
        return _rehearse(Rehearsal(settings, routes), route_called(routes, given.record), given.json, given.key)
    except (SettingsError, RouteError, CommandError) as error:
        sys.stderr.write(f"headrace: {error}\n")
        return error.code if isinstance(error, CommandError) else Exit.FAILED if isinstance(error, RouteError) else Exit.USAGE


def _rehearse(rehearsal: Rehearsal, route: Route, source: str | None, key: str | None) -> int:
    if source is None:
        sys.stdout.writelines(f"{name + ':':<12}{value}\n" for name, value in rehearsal.of_route(route).items())
        return Exit.DONE
    code = Exit.DONE
    with open_lines(source) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                answer = rehearsal.of_request(route, fields_of(line, number), key)
            except ValueError as error:
                raise CommandError(Exit.USAGE, f"line {number}: {error}") from error
            sys.stdout.write(f"{json.dumps(answer)}\n")
            if answer["disposition"] != "started":
                code = Exit.FAILED
    return code


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
