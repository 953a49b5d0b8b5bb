"""How fast one bot speaks: what may be sent when, decided in one place for all that speaks for it."""
