"""Jobs: runs that end. Their record, life, channels and results."""
