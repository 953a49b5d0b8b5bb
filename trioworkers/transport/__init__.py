"""The ways to and from Telegram: the Bot API client and the transports that bring updates in."""
