"""The report: sections with metrics, charts, image grids and embedding maps, as a Markdown and an HTML page."""
