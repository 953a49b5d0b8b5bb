"""The live stream: what changes in the fleet, as messages that all clients share."""
