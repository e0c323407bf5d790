"""Sends a request that is too large for Kafka: its value, as standard input has it, goes into the bucket, its place to Kafka."""

import asyncio
import hashlib
import sys

import boto3
from aiokafka import AIOKafkaProducer

SERVERS, TOPIC, BUCKET, EVENT_ID = sys.argv[1:]  # 127.0.0.1:9092 image.requests headrace 0b6a0cf1-...
VALUE = sys.stdin.buffer.read()  # framed Avro, exactly what the record's value would have been


async def main() -> None:
    key = f"requests/{TOPIC}/{EVENT_ID}/{hashlib.sha256(VALUE).hexdigest()}"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=VALUE)  # first the object
    headers = [("ce_id", EVENT_ID.encode()), ("ce_dataref", f"s3://{BUCKET}/{key}".encode())]
    async with AIOKafkaProducer(bootstrap_servers=SERVERS, acks="all") as producer:
        await producer.send_and_wait(TOPIC, b"", key=b"ada", headers=headers)  # then the record, empty and not null


asyncio.run(main())
