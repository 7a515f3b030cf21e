"""What the object store keeps: buckets, objects, uploads."""
