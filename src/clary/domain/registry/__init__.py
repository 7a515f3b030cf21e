"""The model registry beside packages themselves: decisions about versions, events, aliases, model cards."""
