"""What may be shown to others when something does not work."""

from __future__ import annotations

from typing import Any

from homeassistant.components import mqtt
from homeassistant.components.diagnostics import async_redact_data
from homeassistant.core import HomeAssistant

from .hub import PortholeConfigEntry

# The secret, and what tells where the camera is, whose it is and who watches.
REDACTED = {"secret", "grant", "page", "whep", "sessions", "name", "overlay", "turn", "address"}


async def async_get_config_entry_diagnostics(hass: HomeAssistant, entry: PortholeConfigEntry) -> dict[str, Any]:
    """Give the diagnostics of a camera."""
    hub = entry.runtime_data
    return {
        "entry": async_redact_data(dict(entry.data), REDACTED),
        "mqtt_connected": mqtt.is_connected(hass),
        "viewer": hub.viewer,
        "device_online": hub.online,
        "sessions_here": hub.phases,
        "last_failure": hub.last_failure,
        "issue": hub.grant.issue,
        "has_snapshot": hub.snapshot is not None,
        "info": async_redact_data(hub.info, REDACTED),
        "state": async_redact_data(hub.state, REDACTED),
    }
