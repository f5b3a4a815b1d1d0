"""Who may look: a token on every request that comes from elsewhere, an origin that is our own, and a limit on failures."""

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCAL = {"localhost", "127.0.0.1", "[::1]"}
FAILURES, PER_S = 20, 60.0  # of one address, before it is refused unheard
ADDRESSES = 1_000  # that are remembered
SHOWN = 4  # tokens of one request that are looked at
CLOSED = 4403  # of a WebSocket


class Guard:
    """ASGI middleware. With a token, every request needs it; without, the page answers to this machine's own names alone.

    The token comes in the link (`?token=`), and from then on in a cookie that scripts cannot read. A request that names another
    origin is refused: a page elsewhere must not listen in (nor through a name of its own that leads here).
    """

    def __init__(
        self, app: ASGIApp, token: str | None, origin: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Guard an application that a proxy may serve as `origin`; `clock` in seconds."""
        self._app, self._token, self._origin, self._clock = app, token, origin, clock
        # A name of its own: cookies know no ports, and another monitor may run on this machine.
        self._cookie = f"rtmelody-{hashlib.sha256((token or '').encode()).hexdigest()[:12]}"
        self._wrong: dict[str, dict[str, float]] = {}  # address: tokens, and when they were shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif not self._same_origin(scope):
            await _refuse(scope, receive, send, 403, "This page is not for other sites.")
        elif not self._token:
            await self._app(scope, receive, send)
        elif self._blocked(address := (scope.get("client") or ("?", 0))[0]):
            await _refuse(scope, receive, send, 429, "Too many wrong tokens: wait a minute.")
        elif any(hmac.compare_digest(given.encode(), self._token.encode()) for given in self._tokens(scope)):
            await self._app(scope, receive, self._with_cookie(scope, send))
        else:
            self._remember(address, self._tokens(scope))
            await _refuse(scope, receive, send, 401, "Open the link that the terminal shows: it has the token.")

    def _same_origin(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._token and host.rpartition(":")[0] not in LOCAL and host not in LOCAL:
            return False
        try:
            return origin in (None, self._origin) or urlsplit(origin).netloc == host
        except ValueError:  # no address at all
            return False

    def _with_cookie(self, scope: Scope, send: Send) -> Send:
        """Whoever came by the link need not show the token again."""
        if not self._token or scope["type"] != "http" or self._token in self._cookies(scope):
            return send
        secure = "; Secure" if (self._origin or "").startswith("https:") else ""
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/{secure}".encode()

        async def sending(message: dict) -> None:  # type: ignore[type-arg]
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie)]
            await send(message)

        return sending  # type: ignore[return-value]

    def _blocked(self, address: str) -> bool:
        since = self._clock() - PER_S
        recent = {token: at for token, at in self._wrong.get(address, {}).items() if at > since}
        if address in self._wrong:
            self._wrong[address] = recent
        return len(recent) >= FAILURES

    def _remember(self, address: str, tokens: list[str]) -> None:
        """Different ones count: a page that was left open shows an old one again and again."""
        if len(self._wrong) >= ADDRESSES:
            self._wrong.pop(next(iter(self._wrong)))
        self._wrong.setdefault(address, {}).update(dict.fromkeys(tokens, self._clock()))

    def _tokens(self, scope: Scope) -> list[str]:
        """What is shown: in the link or by the cookie."""
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return [*asked, *self._cookies(scope)][:SHOWN]

    def _cookies(self, scope: Scope) -> list[str]:
        shown = cookie_parser(Headers(scope=scope).get("cookie", "")).get(self._cookie)
        return [shown] if shown else []


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose(CLOSED, sentence)(scope, receive, send)
    else:
        await PlainTextResponse(f"{sentence}\n", status)(scope, receive, send)
