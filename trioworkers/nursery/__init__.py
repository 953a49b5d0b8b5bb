"""The nursery tree: the fleet, each bot in its cancel scope, its scheduler, its executors."""
