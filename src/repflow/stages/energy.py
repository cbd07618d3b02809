"""Energy as codecarbon measures or estimates it: offline, quiet, without files, in a thread beside the stage.

Looking at the machine takes codecarbon more than a second, most of it in a process of its own. The thread does so while
the stage still reads its data; the time until then counts with the mean power of the rest.
"""

import logging
import threading
import time
from importlib.metadata import version
from types import TracebackType
from typing import Any

WORDS = {
    "CPU(Cpu Load)": "processor estimated from the load by this process and its children",
    "CPU(Intel Rapl)": "processor of the whole machine by its counters (RAPL)",
    "RAM()": "memory estimated from what is used",
}
"""What codecarbon calls its ways of knowing, and what they are; others are shown as it calls them."""


class EnergyMeter:
    """Follows the energy of this process and its children while the `with` block runs."""

    def __init__(self) -> None:
        self.method = "codecarbon is not installed"
        """How the energy is known, or why it is not."""
        self._began = time.monotonic()
        self._readings = _Readings()
        self._tracker: Any = None
        self._thread = threading.Thread(target=self._track, daemon=True)

    def __enter__(self) -> "EnergyMeter":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.join()
        if self._tracker is not None:
            self._tracker.stop()

    def used(self) -> float | None:
        """The kWh used since this meter was made; None before codecarbon has read twice."""
        power = self._readings.power()
        return None if power is None else power * (time.monotonic() - self._began) / 3600

    def _track(self) -> None:
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError:
            return
        name = f"codecarbon {version('codecarbon')}"
        self.method = f"{name} could not read this machine"
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        # Said here is all by which a user's own configuration of codecarbon could lead to a network or to files. Where
        # the intensity is given there are no emissions to look up, and so there is no question of a country.
        tracker = OfflineEmissionsTracker(
            country_iso_code=None,
            force_carbon_intensity_g_co2e_kwh=0.0,
            electricitymaps_api_token=None,
            emissions_endpoint=None,
            output_methods=[],
            output_handlers=[self._readings],
            log_level="critical",
            allow_multiple_runs=True,
            tracking_mode="process",
            measure_power_secs=2,
            api_call_interval=1,
        )
        tracker.start()
        self._tracker = tracker
        # It has no public name for what it found; its version is pinned, and a test looks at the words.
        found = getattr(tracker, "_conf", {}).get("hardware", [])
        if found:
            self.method = f"{name}: {', '.join(WORDS.get(part, part) for part in sorted(found))}"


class _Readings:
    """The latest of codecarbon's totals. It calls these methods, from threads of its own."""

    def __init__(self) -> None:
        self._number = 0
        self._power = 0.0

    def live_out(self, total: Any, delta: Any) -> None:
        self._power = total.energy_consumed / total.duration * 3600
        self._number += 1

    out = live_out

    def exit(self) -> None:
        pass

    def power(self) -> float | None:
        """The mean so far in kW, None before the second reading; the first one is made before any time has passed."""
        return self._power if self._number > 1 else None
