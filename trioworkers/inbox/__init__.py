"""The durable inbox: what was accepted is on disk, what is handled next is decided in memory."""
