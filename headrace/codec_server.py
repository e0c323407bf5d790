"""`python -m headrace.codec_server`: lets Temporal's UI and CLI show encrypted payloads, to whoever can reach it.

Temporal's remote codec protocol: POST `/encode` and `/decode` take and give `temporal.api.common.v1.Payloads` as JSON. The UI asks for its
address under "Data encoder", the CLI takes it as `--codec-endpoint`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiohttp import web
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads

from headrace.encryption import UnknownKey
from headrace.lifecycle import leave
from headrace.payloads import converter
from headrace.settings import Settings, SettingsError, load

_MOST_BYTES = 64 * 1024 * 1024


def application(settings: Settings, origin: str) -> web.Application:
    """Answers browsers of pages from `origin` only. Raises `SettingsError`."""
    data = converter(settings)
    codec, storage = data.payload_codec, data.external_storage
    if codec is None and storage is None:
        raise SettingsError("nothing is encoded: set HEADRACE_PAYLOAD_KEYS or HEADRACE_PAYLOAD_S3_BYTES as the services have it")
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "content-type,x-namespace,authorization",
        "Access-Control-Allow-Credentials": "true",
    }

    async def answer(request: web.Request) -> web.Response:
        try:
            given = json_format.Parse(await request.text(), Payloads())
            if request.path == "/decode":
                # There is no public way for single payloads; it does what a client does on the way in.
                opened = [await data._transform_inbound_payload(each) for each in given.payloads]  # noqa: SLF001
                given = Payloads(payloads=opened)
            elif codec is not None:
                given = Payloads(payloads=await codec.encode(list(given.payloads)))
        except (json_format.ParseError, UnknownKey) as error:
            return web.Response(text=str(error), status=400, headers=headers)
        except (RuntimeError, ValueError, KeyError):  # the storage driver's: a reference that is none of ours, or S3 is away
            return web.Response(text="the reference in a payload leads nowhere", status=400, headers=headers)
        return web.Response(text=json_format.MessageToJson(given), content_type="application/json", headers=headers)

    async def preflight(_: web.Request) -> web.Response:
        return web.Response(status=204, headers=headers)

    app = web.Application(client_max_size=_MOST_BYTES)
    for path in ("/encode", "/decode"):
        app.router.add_post(path, answer)
        app.router.add_options(path, preflight)
    return app


async def serve(settings: Settings, host: str, port: int, origin: str) -> None:
    """For ever."""
    runner = web.AppRunner(application(settings, origin), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        sys.stdout.write(f"http://{host}:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m headrace.codec_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="whoever reaches it can read every payload: put authentication in front")
    parser.add_argument("--port", type=int, default=8888, help="0 takes a free one")
    parser.add_argument("--origin", default="http://127.0.0.1:8233", help="where the UI's pages come from")
    given = parser.parse_args()
    try:
        asyncio.run(serve(load(), given.host, given.port, given.origin))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    leave(main())
