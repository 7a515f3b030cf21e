"""The supervising process of one workload. Standard library only, few imports: one of these lives for every replica."""
