"""The far side of every run: groundswell's simulator as a process of its own, and a way in for OpenAI clients.

Prints `{"gemini": url, "openai": url}` when it is ready; when its input ends, what it saw. The OpenAI way
in only translates (request, picture, error text as Google words it), so every peer meets one server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from aiohttp import ClientSession, TCPConnector, web

import engine
from engine.simulator.latency import Latency
from engine.simulator.quotas import Quota

MODEL = "gemini-nano-banana-2.1"


def translator(gemini: str, session: ClientSession) -> web.Application:
    """`/v1/images/generations` as one generateContent call."""

    async def images(request: web.Request) -> web.Response:
        asked = await request.json()
        call = {
            "contents": [{"parts": [{"text": asked["prompt"]}]}],
            "generationConfig": {"responseModalities": ["IMAGE"]},
        }
        url = f"{gemini}/v1beta/models/{MODEL}:generateContent"
        async with session.post(url, json=call, headers={"x-goog-api-key": "bench"}) as reply:
            said = await reply.json()
            if reply.status != 200:
                return web.json_response({"error": said["error"]}, status=reply.status)
        parts = said["candidates"][0]["content"]["parts"]
        pictures = [{"b64_json": part["inlineData"]["data"]} for part in parts if "inlineData" in part]
        return web.json_response({"created": 0, "data": pictures})

    application = web.Application(client_max_size=2**26)
    application.router.add_post("/v1/images/generations", images)
    return application


async def serve(options: argparse.Namespace) -> None:
    """Until the input ends."""
    quota = Quota(rpm=options.rpm, window="bucket", burst=options.burst) if options.rpm else None
    latency = Latency(median_s=options.latency, sigma=0.3)
    async with (
        engine.Simulator(latency=latency, quotas=quota, picture=options.picture, format="jpeg", seed=1) as simulator,
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        runner = web.AppRunner(translator(simulator.base_url, session), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        print(json.dumps({"gemini": simulator.base_url, "openai": f"http://127.0.0.1:{port}"}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stats = simulator.stats
        accepted = [(call.at_s, call.at_s + call.took_s) for call in stats.seen if call.status == 200]
        print(json.dumps({**stats.as_dict(), "accepted": sorted(accepted)}), flush=True)
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", default="tiny", choices=("pool", "tiny"))
    parser.add_argument("--latency", type=float, default=0.0, help="median in seconds")
    parser.add_argument("--rpm", type=float, help="requests per minute, as a bucket")
    parser.add_argument("--burst", type=float, default=60.0, help="what the bucket holds")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
