"""Browsers as microphones: each sends samples over a WebSocket, and gets its notes back; each has a recognizer of its own."""

import asyncio
import re

import msgspec
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from rtmelody.config import Config
from rtmelody.core.framing import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.events import told

MOST = 4  # at a time
LARGEST = 1 << 16  # bytes of a message
FULL, MALFORMED = 4429, 4400  # codes of a WebSocket that is closed
SILENT_S = 30.0  # without a message, and a browser has gone


class Microphones:
    """The streams that are open."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.open = 0

    async def serve(self, socket: WebSocket) -> None:
        """One browser: `?rate=` in Hz, then messages of float32 little-endian mono samples; events come back as JSON."""
        await socket.accept()
        if self.open >= MOST:
            await socket.close(FULL, f"There are {MOST} microphones already: wait until one has gone.")
            return
        rate = socket.query_params.get("rate", "")
        if not re.fullmatch("[0-9]{4,6}", rate) or not LOWEST_SAMPLE_RATE <= int(rate) <= HIGHEST_SAMPLE_RATE:
            await socket.close(MALFORMED, f"Give ?rate= in Hz, from {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE}.")
            return
        self.open += 1
        try:
            await self._listen(socket, int(rate))
        except (TimeoutError, WebSocketDisconnect):
            return
        finally:
            self.open -= 1

    async def _listen(self, socket: WebSocket, rate: int) -> None:
        recognizer = await asyncio.to_thread(lambda: Recognizer(rate, self._config, Network(model_folder(self._config.model))))
        await socket.send_json({"ready": rate})
        while True:
            message = await asyncio.wait_for(socket.receive(), SILENT_S)
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if message.get("text") == "end":
                events = recognizer.flush()
            elif data is None or len(data) % 4 or len(data) > LARGEST:
                await socket.close(MALFORMED, f"Send at most {LARGEST} bytes of float32 samples at a time.")
                return
            else:
                events = await asyncio.to_thread(recognizer.push, np.frombuffer(data, "<f4"))
            for event in events:
                await socket.send_text(msgspec.json.encode(told(event, rate)).decode())
            if message.get("text") == "end":
                await socket.close()
                return
