"""Operations of Athena: SQL over feature groups."""
