"""What every loop is made of: the loop itself, background work, the ledger of the machine."""
