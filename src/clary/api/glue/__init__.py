"""Operations of Glue: what tables the offline stores of feature groups are."""
