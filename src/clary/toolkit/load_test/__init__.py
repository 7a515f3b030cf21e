"""The program of the image `clary-load-test`: asks an endpoint by a pattern of users, and tells how much it answers how fast."""
