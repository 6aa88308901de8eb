"""Tells people under Settings → Repairs when a grant is no longer good, and takes that back when it works again."""

from __future__ import annotations

from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir

from .const import DOMAIN
from .link import Link
from .session import FORGED_ANSWER, OTHER_DEVICE

# What is wrong with what this Home Assistant was given, by the code that a session ended with. None of these gets better by itself.
_ISSUES = {
    "unauthorized": "grant_revoked",
    "expired": "grant_expired",
    "forbidden": "grant_forbidden",
    OTHER_DEVICE: "other_device",
    FORGED_ANSWER: "forged_answer",
}
# Another link helps here; a forged answer is a matter of the broker.
_ASK_FOR_LINK = ("unauthorized", "expired", "forbidden", OTHER_DEVICE)


def issue_id(entry: ConfigEntry) -> str:
    """Give the issue of an entry: there is at most one, the latest."""
    return f"grant_{entry.entry_id}"


class GrantWatch:
    """The issue of one entry."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry, link: Link) -> None:
        """Begin with none known; there may be one in the registry."""
        self._hass = hass
        self._entry = entry
        self._link = link
        self.issue: str | None = None

    @callback
    def failed(self, code: str) -> None:
        """Take notice of the code that a session ended with."""
        if (issue := _ISSUES.get(code)) is None:
            return
        if issue == "grant_revoked" and self._link.grant is None:
            # It had none: everybody might watch when it was set up.
            issue = "grant_missing"
        if issue != self.issue:
            self.issue = issue
            ir.async_create_issue(
                self._hass,
                DOMAIN,
                issue_id(self._entry),
                is_fixable=False,
                severity=ir.IssueSeverity.ERROR,
                translation_key=issue,
                translation_placeholders={"name": self._entry.title, "grant": self._link.grant or ""},
            )
        if code in _ASK_FOR_LINK:
            self._entry.async_start_reauth(self._hass)

    @callback
    def works(self) -> None:
        """Take everything back: the device has answered, and its answer was good."""
        # Also what was raised before this entry was loaded anew, as it is for another link.
        self.issue = None
        ir.async_delete_issue(self._hass, DOMAIN, issue_id(self._entry))
        for flow in list(self._entry.async_get_active_flows(self._hass, {SOURCE_REAUTH})):
            self._hass.config_entries.flow.async_abort(flow["flow_id"])
