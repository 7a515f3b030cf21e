"""Scripts of the hub's models: `clary hub sync` puts them into the archives that JumpStart's clients name. Nobody imports them here."""
