"""The local Bot API endpoint: how bots that are programs of their own get updates and make calls."""
