"""`trioworkers top`: a table of the fleet that follows the live stream."""
