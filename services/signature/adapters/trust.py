"""The trust list of the service: a folder, read again when its files change."""

import logging
from pathlib import Path

from shared.errors import UnavailableError
from signing.trust import TrustList
from signing.trust_files import TrustFolderError, load_trust, trust_files

logger = logging.getLogger(__name__)


class TrustFolder:
    """A trust list that is read again when its files change. See `services.signature.ports.Trust`."""

    def __init__(self, folder: Path, *, is_proof_required: bool) -> None:
        """Read this folder, when asked."""
        self._folder = folder
        self._is_proof_required = is_proof_required
        self._state: list[tuple[str, int, int]] | None = None
        self._trust = TrustList()
        self._told = ""

    def current(self) -> TrustList:
        """See `Trust.current`."""
        try:
            state = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in trust_files(self._folder)]
            if state != self._state:
                self._trust = load_trust(self._folder, is_proof_required=self._is_proof_required).trust
                self._state, self._told = state, ""
        except (TrustFolderError, OSError) as error:
            self._state = None
            if str(error) != self._told:
                self._told = str(error)
                logger.error("trust.unreadable", extra={"reason": str(error)})  # noqa: TRY400  # once, not each time
            raise UnavailableError("trust list", str(error)) from error
        return self._trust

    async def check(self) -> None:
        """Return when the trust list can be read and holds an authority; else raise `UnavailableError`."""
        if not self.current().authorities:
            raise UnavailableError("trust list", f"no certificate of an authority in {self._folder}")
