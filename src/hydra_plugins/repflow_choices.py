"""Lets `dvc exp run`, and `dvc exp run --queue`, say what was chosen beside the defaults, from which they compose.

Hydra asks this plugin whenever it composes conf/, here in DVC's process. repflow's own commands say it themselves: in
their processes nothing shows what DVC's logger is given.
"""

import logging
import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from repflow.errors import ParameterError
from repflow.stages.composing.announcement import SAID, announce

_LOG = logging.getLogger("dvc.repflow")


class AnnouncedChoices(SearchPathPlugin):
    """Says it to DVC's log, which is why it is given the search path; it leaves that as it is."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Say what was chosen in conf/, and let the stages that this process runs not say it again."""
        if not SAID.keys().isdisjoint(os.environ) or not _LOG.isEnabledFor(logging.INFO):
            return
        [main] = [each.path for each in search_path.get_path() if each.provider == "main"]
        try:
            announce(Path(str(main).removeprefix("file://")), "the checkout", _LOG.info)
        except ParameterError:
            return  # Hydra says what is wrong with the file
        os.environ.update(SAID)
