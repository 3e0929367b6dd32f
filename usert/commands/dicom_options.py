"""The options of the DICOM objects that the live page makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from usert.commands.option import option

if TYPE_CHECKING:
    from usert.runtime.view.dicom_folder import DicomFolder
    from usert.runtime.view.dicom_node import DicomNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Dicom:
    """Options of where DICOM objects of the page go."""

    dicom_folder: Path | None = option(
        None, "DIR", "Folder on this machine for them; by default the browser keeps them."
    )
    dicom_node: str | None = option(
        None, "TITLE@HOST:PORT", "DICOM node that they can be sent to (C-STORE): its AE title and address."
    )
    dicom_title: str = option("USERT", "TITLE", "AE title of this side.")
    dicom_tls: Path | None = option(
        None, "PEM", "Certificate of the authority that vouches for the node: what is sent is then encrypted."
    )

    def folder(self) -> DicomFolder | None:
        """The folder that exists. Errors: `OptionError`, `MissingExtraError`."""
        from usert.errors import require
        from usert.runtime.view.dicom_folder import DicomFolder

        if self.dicom_folder is None:
            return None
        require("pydicom", "dicom")
        return DicomFolder.at(self.dicom_folder)

    def node(self) -> DicomNode | None:
        """The node. Errors: `OptionError`, `MissingExtraError`."""
        from usert.errors import OptionError, require
        from usert.runtime.view.dicom_node import DicomNode

        if self.dicom_node is None:
            if self.dicom_tls is not None:
                raise OptionError("--dicom-tls: got it without --dicom-node, which it is for")
            return None
        require("pynetdicom", "dicom")
        return DicomNode.parse(self.dicom_node, self.dicom_title, self.dicom_tls)
