"""The report: facts from the metrics, charts, image grids and maps, and the two pages that they stand on."""
