"""What a viewer reads where there is no picture, in Home Assistant's own language."""

from __future__ import annotations

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.translation import async_get_cached_translations

from .const import DOMAIN


@callback
def words(hass: HomeAssistant, code: str, *, name: str, said: str = "") -> str:
    """Give the sentence for a code. Codes of a later protocol are told by what the device said."""
    key = f"component.{DOMAIN}.exceptions.{code.replace('-', '_')}.message"
    for language in (hass.config.language, "en"):
        if text := async_get_cached_translations(hass, language, "exceptions", DOMAIN).get(key):
            # Not str.format: what the device said is not for a formatter to read.
            text = text.replace("{name}", name)
            return f"{text} ({said})" if said else text
    return said or code
