"""The loops that scale: targets of Application Auto Scaling, latency objectives, sharing of CPUs."""
