"""The camera: live over WebRTC, straight from the device to the browser."""

from __future__ import annotations

from typing import override

from homeassistant.components import mqtt
from homeassistant.components.camera import Camera, CameraEntityFeature, WebRTCSendMessage
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from webrtc_models import RTCIceCandidateInit

from .const import DOMAIN, MANUFACTURER
from .hub import Hub, PortholeConfigEntry
from .still import Stills

# Everything comes by itself.
PARALLEL_UPDATES = 0


async def async_setup_entry(
    hass: HomeAssistant, entry: PortholeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the camera, on the device that the MQTT discovery has made, if there is one."""
    hub = entry.runtime_data
    device = _discovered_device(hass, hub)
    if device is not None:
        _remove_own_device(hass, entry)
    async_add_entities([PortholeCamera(hass, entry, device)])

    @callback
    def device_changed(_event: Event[dr.EventDeviceRegistryUpdatedData]) -> None:
        """Move over when the device of the MQTT discovery comes or goes."""
        now = _discovered_device(hass, hub)
        if (now and now.id) != (device and device.id):
            hass.config_entries.async_schedule_reload(entry.entry_id)

    entry.async_on_unload(hass.bus.async_listen(dr.EVENT_DEVICE_REGISTRY_UPDATED, device_changed))


@callback
def _discovered_device(hass: HomeAssistant, hub: Hub) -> dr.DeviceEntry | None:
    """Give the device with the entities of the MQTT discovery."""
    registry = dr.async_get(hass)
    identifier = (mqtt.DOMAIN, f"porthole_{hub.link.device}")
    for entry in hass.config_entries.async_entries(mqtt.DOMAIN):
        if device := registry.async_get_device_by_identifier(identifier, entry.entry_id):
            return device
    return None


@callback
def _remove_own_device(hass: HomeAssistant, entry: PortholeConfigEntry) -> None:
    """Remove the device that was made while there was no discovery."""
    registry = dr.async_get(hass)
    if device := registry.async_get_device_by_identifier((DOMAIN, str(entry.unique_id)), entry.entry_id):
        registry.async_remove_device(device.id)


class PortholeCamera(Camera):
    """A Porthole device's picture."""

    _attr_has_entity_name = True
    _attr_translation_key = "live"
    _attr_brand = MANUFACTURER
    _attr_supported_features = CameraEntityFeature.STREAM

    def __init__(self, hass: HomeAssistant, entry: PortholeConfigEntry, device: dr.DeviceEntry | None) -> None:
        """Take what is known of the device so far; `device` is that of the MQTT discovery."""
        super().__init__()
        self._hub = entry.runtime_data
        self._stills = Stills(hass, self._hub)
        self._attr_unique_id = f"{entry.unique_id}_live"
        if device is not None:
            self.device_entry = device
        else:
            self._attr_device_info = dr.DeviceInfo(
                identifiers={(DOMAIN, str(entry.unique_id))}, name=entry.title, manufacturer=MANUFACTURER
            )
        self._take_state()

    @override
    async def async_added_to_hass(self) -> None:
        """Follow what the device says."""
        self.async_on_remove(self._hub.async_observe(self._update))

    @callback
    def _update(self) -> None:
        self._take_state()
        self.async_write_ha_state()

    @callback
    def _take_state(self) -> None:
        info, state = self._hub.info, self._hub.state
        camera = state.get("camera")
        model = info.get("model")
        self._attr_available = self._hub.online
        self._attr_is_on = state.get("streaming") != "OFF"
        self._attr_is_streaming = isinstance(camera, dict) and camera.get("state") == "live"
        self._attr_model = model if isinstance(model, str) else None

    @override
    async def async_camera_image(self, width: int | None = None, height: int | None = None) -> bytes | None:
        """Give a still picture, where the device allows one."""
        return await self._stills.async_get()

    @override
    async def async_handle_async_webrtc_offer(
        self, offer_sdp: str, session_id: str, send_message: WebRTCSendMessage
    ) -> None:
        """Sign the browser's offer, and take it to the device."""
        await self._hub.async_offer(offer_sdp, session_id, send_message)

    @override
    async def async_on_webrtc_candidate(self, session_id: str, candidate: RTCIceCandidateInit) -> None:
        """Take a candidate of the browser to the device."""
        await self._hub.async_candidate(session_id, candidate)

    @callback
    @override
    def close_webrtc_session(self, session_id: str) -> None:
        """Tell the device that the viewer left."""
        self._hub.async_close(session_id)
