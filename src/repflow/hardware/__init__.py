"""Hardware: devices and precision, the CPU's instructions and threads, launchers."""
