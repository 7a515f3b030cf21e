"""Application Auto Scaling: targets, policies and activities, as AWS has them."""
