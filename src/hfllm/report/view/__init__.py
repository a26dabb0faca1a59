"""The views: plain records and SVG, made from a `Run`, that the page and the Markdown show."""
