"""The hub: models of ours in the layout that JumpStart's clients read."""
