"""What the page shows, as plain records made from a run folder."""
