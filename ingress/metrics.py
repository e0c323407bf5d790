"""What the ingress counts."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("headrace_ingress_records", "Records by how they ended.", ["topic", "route", "disposition"])
DEAD_LETTERS = Counter("headrace_ingress_dead_letters", "Dead letters by reason.", ["topic", "reason"])
RECEIPTS = Counter(
    "headrace_ingress_receipts",
    "Refused records by whether their sender was told: sent, no_event_id, no_completion_record.",
    ["topic", "outcome"],
)
TRANSIENT = Counter("headrace_ingress_transient_errors", "Tries that are made again because a part was away or busy.", ["topic"])
IN_FLIGHT = Gauge("headrace_ingress_in_flight", "Records read and without a disposition.")
IN_FLIGHT_BYTES = Gauge("headrace_ingress_in_flight_bytes", "The sum of their sizes.")
FETCHED_BYTES = Counter("headrace_ingress_fetched_bytes", "Bytes of request values that came by reference.", ["topic"])
FETCH_SECONDS = Histogram("headrace_ingress_fetch_seconds", "One of them, read.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30))
START_SECONDS = Histogram(
    "headrace_ingress_start_seconds", "One start call, answered.", buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
)
START_LIMIT = Gauge("headrace_ingress_start_limit", "Calls to Temporal that may be made at one time.")
REPEATED_STARTS = Counter("headrace_ingress_repeated_starts", "Start calls for events that already had their workflow.")
LAG_RECORDS = Gauge("headrace_ingress_lag_records", "Records of an assigned partition without a disposition.", ["topic", "partition"])
LAG_SECONDS = Gauge(
    "headrace_ingress_lag_seconds", "Age of the oldest record that was read and has no disposition.", ["topic", "partition"]
)
COMMIT_GAP = Gauge("headrace_ingress_commit_gap", "Offsets that were read and are not committed yet.", ["topic", "partition"])
COMMIT_FAILURES = Counter("headrace_ingress_commit_failures", "Commits that Kafka did not take; the records are read again at worst.")
REBALANCES = Counter("headrace_ingress_rebalances", "Times that the group has shared its partitions out anew.")
ROUTE_STOPPED = Gauge("headrace_ingress_route_stopped", "1 while a breaker has stopped the route.", ["route"])
