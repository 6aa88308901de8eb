"""Still pictures: the one that the broker keeps, or one that the device is asked for over HTTP."""

from __future__ import annotations

import asyncio
import time

import aiohttp
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from .const import LOGGER, MAX_PICTURE_BYTES
from .hub import Hub
from .protocol import bearer_token

TIMEOUT_S = 10.0
# Several dashboards that ask at once get the same one.
FRESH_S = 5.0
# A device that gives none, or has no such right for us, is not asked with every refresh of every card.
PAUSE_S = 60.0


class Stills:
    """Where a camera's still pictures come from.

    The token is shown only where the link leads, which came to us outside the broker; never to an address that the
    broker's messages name.
    """

    def __init__(self, hass: HomeAssistant, hub: Hub) -> None:
        """Begin without a picture."""
        self._hass = hass
        self._hub = hub
        self._lock = asyncio.Lock()
        self._picture: bytes | None = None
        self._next_s = 0.0

    async def async_get(self) -> bytes | None:
        """Give the latest picture there is."""
        if self._hub.snapshot is not None:
            return self._hub.snapshot
        if self._hub.link.page is None:
            return None
        async with self._lock:
            if time.monotonic() >= self._next_s:
                self._picture = await self._fetch(f"{self._hub.link.page}snapshot.jpg")
                self._next_s = time.monotonic() + (FRESH_S if self._picture else PAUSE_S)
            return self._picture

    async def _fetch(self, url: str) -> bytes | None:
        link = self._hub.link
        headers = {"Authorization": f"Bearer {bearer_token(link.secret)}"} if link.secret else {}
        session = async_get_clientsession(self._hass)
        try:
            async with asyncio.timeout(TIMEOUT_S), session.get(url, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    LOGGER.debug("%s gives no picture over HTTP: %s", self._hub.name, response.status)
                    return None
                picture = bytearray()
                async for part in response.content.iter_chunked(64 * 1024):
                    picture += part
                    if len(picture) > MAX_PICTURE_BYTES:
                        return None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            LOGGER.debug("%s gives no picture over HTTP: %s", self._hub.name, error)
            return None
        return bytes(picture) if picture.startswith(b"\xff\xd8") else None
