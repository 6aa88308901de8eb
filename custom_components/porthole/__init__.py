"""Porthole: live video of a camera, straight from the device to the browser."""

from __future__ import annotations

from homeassistant.components import mqtt
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ConfigEntryAuthFailed, ConfigEntryNotReady
from homeassistant.helpers import issue_registry as ir

from .const import DOMAIN
from .grant import issue_id
from .hub import Hub, PortholeConfigEntry, async_viewer_id
from .link import Link, LinkError

PLATFORMS = [Platform.CAMERA]


async def async_setup_entry(hass: HomeAssistant, entry: PortholeConfigEntry) -> bool:
    """Listen to the device, and add its camera."""
    if not await mqtt.async_wait_for_mqtt_client(hass):
        raise ConfigEntryNotReady(translation_domain=DOMAIN, translation_key="no_mqtt")
    try:
        link = Link.from_fields(dict(entry.data))
    except LinkError as error:
        raise ConfigEntryAuthFailed(translation_domain=DOMAIN, translation_key="bad_link") from error
    hub = Hub(hass, entry, link, await async_viewer_id(hass))
    entry.runtime_data = hub
    await hub.async_start()
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    return True


async def async_unload_entry(hass: HomeAssistant, entry: PortholeConfigEntry) -> bool:
    """Say goodbye to the device for all who watch."""
    unloaded = await hass.config_entries.async_unload_platforms(entry, PLATFORMS)
    if unloaded:
        await entry.runtime_data.async_stop()
    return unloaded


async def async_remove_entry(hass: HomeAssistant, entry: PortholeConfigEntry) -> None:
    """Leave no issue of what is gone."""
    ir.async_delete_issue(hass, DOMAIN, issue_id(entry))
