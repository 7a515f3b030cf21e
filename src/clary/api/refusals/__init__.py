"""Operations that Clary will not have: one table a service, put together in `table.py`."""
