"""Energy, measured or estimated by codecarbon: offline, without output or files, in a background thread.

codecarbon takes more than a second to detect the hardware, mostly in a subprocess. The thread does this while the stage
still reads its data; that time is counted with the mean power of the rest.
"""

import logging
import threading
import time
from importlib.metadata import version
from types import TracebackType
from typing import Any

METHODS = {
    "CPU(Cpu Load)": "CPU estimated from the load of this process and its children",
    "CPU(Intel Rapl)": "CPU of the whole machine measured by RAPL counters",
    "RAM()": "memory estimated from its use",
}
"""codecarbon's names of measurement methods, and their descriptions; other names are shown unchanged."""


class EnergyMeter:
    """Measures the energy of this process and its children while the `with` block runs."""

    def __init__(self) -> None:
        self.method = "codecarbon is not installed"
        """The measurement method, or why there is none."""
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
        """Energy used since this meter was created, in kWh; None before codecarbon's second reading."""
        power = self._readings.power()
        return None if power is None else power * (time.monotonic() - self._began) / 3600

    def _track(self) -> None:
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError:
            return
        name = f"codecarbon {version('codecarbon')}"
        self.method = f"{name} could not measure this machine"
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        # These arguments override everything in the user's own configuration of codecarbon that would use the network
        # or write files. With a given carbon intensity it needs no country to look up emissions.
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
        # There is no public name for the detected hardware; the version is pinned, and a test checks this.
        found = getattr(tracker, "_conf", {}).get("hardware", [])
        if found:
            self.method = f"{name}: {', '.join(METHODS.get(part, part) for part in sorted(found))}"


class _Readings:
    """The latest totals of codecarbon, which calls these methods from its own threads."""

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
        """Mean power so far in kW; None before the second reading, as the first one has no duration."""
        return self._power if self._number > 1 else None
