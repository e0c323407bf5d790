"""What the ingress counts."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("headrace_ingress_records", "Records by how they ended.", ["topic", "disposition"])
DEAD_LETTERS = Counter("headrace_ingress_dead_letters", "Dead letters by reason.", ["topic", "reason"])
TRANSIENT = Counter("headrace_ingress_transient_errors", "Tries that are made again because a part was away or busy.", ["topic"])
IN_FLIGHT = Gauge("headrace_ingress_in_flight", "Records read and without a disposition.")
START_SECONDS = Histogram(
    "headrace_ingress_start_seconds", "One start call, answered.", buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
)
