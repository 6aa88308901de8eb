"""What the modules of this integration share."""

import logging
from typing import Final

DOMAIN: Final = "porthole"
LOGGER: Final = logging.getLogger(__package__)

CONF_LINK: Final = "link"

MANUFACTURER: Final = "Porthole"

# Of every message but a picture: `info` of a camera with many modes has some dozen KiB.
MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_PICTURE_BYTES: Final = 8 * 1024 * 1024
