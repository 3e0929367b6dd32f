"""The options by which a viewer finds the images of a live server, and the frames that they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys
from usert.commands.option import option

STRAIN_HELP = "Endpoint of strain images, as in `usert serve --publish`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Options of the source of the images."""

    strain: str = option(..., "ENDPOINT", STRAIN_HELP)
    rf: str | None = option(None, "ENDPOINT", "Endpoint of the frames (PUB), for B-mode beside the strain.")
    rows: str | None = option(None, "A:B", "Samples of --rf along depth, as `usert serve --rows` cuts them.")
    stream: str = option("", "NAME", "Stream to take; by default the first that is received.")
    key: Path | None = option(None, "SECRET", KEY_HELP)
    server_key: Path | None = option(None, "PUBLIC", SERVER_KEY_HELP)
    rf_key: Path | None = option(None, "PUBLIC", "Public key of the source at --rf, the only one accepted.")

    def source(self) -> dict[str, Any]:
        """The fields of an `ImageSource`, but for `stale_ms` and `insecure`. Errors: `OptionError`."""
        from usert.commands.shape_option import parse_rows

        of_images = self.rf_key is None or self.server_key is not None
        return {
            "strain": self.strain,
            "rf": self.rf,
            "rows": parse_rows(self.rows),
            "stream": self.stream,
            "keys": client_keys(self.key if of_images else None, self.server_key),
            "rf_keys": client_keys(None if self.rf_key is None else self.key, self.rf_key, option="--rf-key"),
        }
