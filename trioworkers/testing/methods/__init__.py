"""The Bot API methods: each takes the world, the calling bot and the parameters, and returns its result."""
