"""Adds a camera: found by its `info` on the broker, or by a link that is pasted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, override

import probatio
from homeassistant.components import mqtt
from homeassistant.config_entries import ConfigEntry, ConfigFlow, ConfigFlowResult
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.selector import TextSelector, TextSelectorConfig, TextSelectorType
from homeassistant.helpers.service_info.mqtt import MqttServiceInfo

from .const import CONF_LINK, DOMAIN, LOGGER, MAX_DOCUMENT_BYTES
from .link import DEFAULT_ROOT, Link, LinkError, is_id
from .protocol import parse_object, plain

# For what the broker has kept; it comes at once or not at all.
INFO_TIMEOUT_S = 5.0
_SCHEMA = probatio.Schema(
    # A link is a secret.
    {probatio.Required(CONF_LINK): TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD))}
)


def unique_id_of(link: Link) -> str:
    """Give what names a device on a broker."""
    return link.device if link.root == DEFAULT_ROOT else f"{link.root}/{link.device}"


async def async_get_info(hass: HomeAssistant, link: Link) -> dict[str, Any] | None:
    """Give what the device says of itself, or None: it is not on Home Assistant's broker."""
    heard: asyncio.Future[dict[str, Any] | None] = hass.loop.create_future()

    @callback
    def on_info(message: mqtt.ReceiveMessage) -> None:
        if not heard.done():
            heard.set_result(parse_object(message.payload, MAX_DOCUMENT_BYTES))

    try:
        undo = await mqtt.async_subscribe(hass, f"{link.base}/info", on_info, 1, encoding=None)
    except HomeAssistantError as error:
        LOGGER.debug("no info: %s", error)
        return None
    try:
        async with asyncio.timeout(INFO_TIMEOUT_S):
            return await heard
    except TimeoutError:
        return None
    finally:
        undo()


def name_of(info: Mapping[str, Any], device: str) -> str:
    """Give the device's name for people."""
    return plain(info.get("name"), 100) or device


class PortholeConfigFlow(ConfigFlow, domain=DOMAIN):
    """Finds devices and asks for their links."""

    VERSION = 1

    def __init__(self) -> None:
        """Begin with nothing found."""
        self._found: Link | None = None
        self._info: dict[str, Any] = {}

    @override
    async def async_step_mqtt(self, discovery_info: MqttServiceInfo) -> ConfigFlowResult:
        """Take notice of a device that says what it is."""
        base, _, leaf = discovery_info.topic.rpartition("/")
        root, _, device = base.rpartition("/")
        info = parse_object(discovery_info.payload, MAX_DOCUMENT_BYTES)
        if leaf != "info" or not is_id(device) or info is None or info.get("device") != device:
            return self.async_abort(reason="invalid_discovery_info")
        try:
            # Only where everybody may watch the key is taken from the broker; it is the same from then on.
            key = info.get("key") if info.get("access") == "open" else None
            self._found = Link.from_fields({"device": device, "root": root, "key": key})
        except LinkError:
            return self.async_abort(reason="invalid_discovery_info")
        self._info = info
        await self.async_set_unique_id(unique_id_of(self._found))
        self._abort_if_unique_id_configured()
        self.context["title_placeholders"] = {"name": name_of(info, device)}
        if info.get("access") == "open":
            return await self.async_step_confirm()
        return await self.async_step_link()

    async def async_step_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask whether to add a camera that everybody may watch."""
        assert self._found is not None
        if user_input is None:
            self._set_confirm_only()
            placeholders = {"name": name_of(self._info, self._found.device)}
            return self.async_show_form(step_id="confirm", description_placeholders=placeholders)
        return self._create(self._found, self._info)

    async def async_step_link(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the link of a camera that was found."""
        assert self._found is not None
        return await self._ask("link", user_input, self._found.device, name_of(self._info, self._found.device))

    @override
    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the link of a camera that was not found."""
        if not self.hass.config_entries.async_entries(mqtt.DOMAIN, include_ignore=False):
            return self.async_abort(reason="no_mqtt")
        return await self._ask("user", user_input, None, "")

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Begin when the grant is no longer good."""
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for another link of the same camera."""
        return await self._ask_again("reauth_confirm", user_input, self._get_reauth_entry())

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for another link, because somebody wants to give one."""
        return await self._ask_again("reconfigure", user_input, self._get_reconfigure_entry())

    async def _ask_again(
        self, step: str, user_input: dict[str, Any] | None, entry: ConfigEntry
    ) -> ConfigFlowResult:
        return await self._ask(step, user_input, entry.data.get("device"), entry.title, entry)

    async def _ask(
        self,
        step: str,
        user_input: dict[str, Any] | None,
        device: str | None,
        name: str,
        entry: ConfigEntry | None = None,
    ) -> ConfigFlowResult:
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                link = Link.parse(user_input[CONF_LINK])
                if device is not None and link.device != device:
                    raise LinkError("other_device")
                link, info = await self._check(link)
            except LinkError as error:
                errors[CONF_LINK] = error.code
            else:
                await self.async_set_unique_id(unique_id_of(link), raise_on_progress=False)
                if entry is None:
                    self._abort_if_unique_id_configured()
                    return self._create(link, info)
                self._abort_if_unique_id_mismatch(reason="other_device")
                return self.async_update_reload_and_abort(entry, data=link.fields())
        return self.async_show_form(
            step_id=step, data_schema=_SCHEMA, errors=errors, description_placeholders={"name": name}
        )

    async def _check(self, link: Link) -> tuple[Link, dict[str, Any]]:
        """Compare a link with what its device says of itself."""
        info = await async_get_info(self.hass, link)
        if info is None:
            raise LinkError("not_there")
        if link.key is not None and info.get("key") != link.key:
            raise LinkError("other_key")
        if info.get("access") != "open" and link.grant is None:
            raise LinkError("needs_grant")
        return link, info

    def _create(self, link: Link, info: Mapping[str, Any]) -> ConfigFlowResult:
        return self.async_create_entry(title=name_of(info, link.device), data=link.fields())
