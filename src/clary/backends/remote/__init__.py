"""The backend of another machine, over one connection that its node opened. Wire, and both ends of it."""
