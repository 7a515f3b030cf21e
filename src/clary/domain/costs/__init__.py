"""What jobs and endpoints used of the machine, and what that costs."""
