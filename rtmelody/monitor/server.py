"""The application: the page, what it is told and asks, the microphones of browsers, and the service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.schemas import SchemaGenerator
from starlette.staticfiles import StaticFiles
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from rtmelody.config import Config
from rtmelody.core.assessment import assess
from rtmelody.io.reports import page
from rtmelody.monitor.guard import Guard
from rtmelody.monitor.hub import Hub
from rtmelody.monitor.microphones import FULL, Microphones
from rtmelody.monitor.service import Figures, Transcription

PAGE = files("rtmelody.monitor").joinpath("page")
MOST_VIEWERS = 64
LARGEST_COMMAND = 1_000  # characters
# Nothing from elsewhere is loaded, and nobody may put this page into theirs.
POLICY = b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"

POLICIES = [(b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def application(hub: Hub, config: Config, token: str | None, origin: str | None = None) -> Starlette:
    """Everything that is served, by a proxy as `origin` if one is given; `token`, if there is one, is asked of everybody."""
    transcription, microphones = Transcription(config), Microphones(config)
    figures = Figures(hub, transcription, microphones)
    reporting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(hub.run())
        try:
            yield
        finally:
            running.cancel()
            transcription.close()

    async def index(_request: Request) -> Response:
        return HTMLResponse(PAGE.joinpath("index.html").read_text(encoding="utf-8"))

    async def live(socket: WebSocket) -> None:
        await _watch(hub, socket)

    async def report(request: Request) -> Response:
        """
        summary: The performance so far against its score
        parameters: [{name: format, in: query, schema: {type: string, enum: [html, json], default: html}}]
        responses: {"200": {description: A page or JSON.}, "404": {description: There is no score.}}
        """  # noqa: D205, D212, D415 (starlette reads it as YAML)
        if hub.score is None:
            return PlainTextResponse("There is no score: start with --score.\n", 404)
        played = hub.heard()
        async with reporting:  # one at a time, beside everything else
            found = await asyncio.to_thread(assess, hub.score, played)
            if request.query_params.get("format") == "json":
                return Response(msgspec.json.encode(found), media_type="application/json")
            return HTMLResponse(await asyncio.to_thread(page, "Performance", found))

    schemas = SchemaGenerator({"openapi": "3.1.0", "info": {"title": "rtmelody", "version": "1"}})

    async def openapi(request: Request) -> Response:
        return JSONResponse(schemas.get_schema(routes=request.app.routes))

    return Starlette(
        routes=[
            Route("/", index, include_in_schema=False),
            Mount("/page", StaticFiles(directory=str(PAGE)), name="page"),
            WebSocketRoute("/live", live),
            WebSocketRoute("/microphone", microphones.serve),
            Route("/report", report),
            Route("/transcribe", transcription.serve, methods=["POST"]),
            Route("/health", figures.health),
            Route("/metrics", figures.metrics),
            Route("/openapi.json", openapi, include_in_schema=False),
        ],
        middleware=[Middleware(_Policy), Middleware(Guard, token=token, origin=origin)],
        lifespan=lifespan,
    )


async def _watch(hub: Hub, socket: WebSocket) -> None:
    """One viewer: news goes out, commands come in, until it leaves."""
    await socket.accept()
    if len(hub.viewers) >= MOST_VIEWERS:
        await socket.close(FULL, f"{MOST_VIEWERS} pages are watching already.")
        return
    viewer = hub.join()

    async def tell() -> None:
        while True:
            await socket.send_text((await viewer.next()).decode())

    telling = asyncio.create_task(tell())
    try:
        while True:
            message = await socket.receive_text()
            if len(message) <= LARGEST_COMMAND:
                hub.command(message)
    except (WebSocketDisconnect, KeyError, RuntimeError):  # bytes instead of text, or a connection that broke
        return
    finally:
        telling.cancel()
        hub.leave(viewer)


class _Policy:
    """Adds the security policy to every answer."""

    def __init__(self, app) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        self._app = app

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *POLICIES]
            await send(message)

        await self._app(scope, receive, sending)
