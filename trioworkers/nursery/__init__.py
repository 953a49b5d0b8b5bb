"""The nursery tree: the fleet, each bot in its cancel scope, its worker process, its dispatch."""
